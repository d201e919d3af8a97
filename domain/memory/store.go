package memory

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/nationtech/harmony-fleet/domain"
)

// store keeps values by key, with a revision for each write. A stored value is
// never changed in place, so that it can be read outside the lock.
type store[K ~string, V any] struct {
	// clone copies a value on its way in and out.
	clone func(V) V
	// kept is how many versions of a key are remembered.
	kept int

	mu       sync.Mutex
	revision domain.Revision
	entries  map[K]*entry[V]
	watchers map[*watcher[K]]struct{}
	bells    map[K]bells
}

// entry is what is remembered of a key. A deleted key keeps its last version,
// so that a watch can tell of the deletion and a new value can build on it.
type entry[V any] struct {
	deleted bool
	// revision is that of the last write, the deletion included.
	revision domain.Revision
	// versions are oldest first and never empty.
	versions []version[V]
}

type version[V any] struct {
	value    V
	revision domain.Revision
}

// held is what a key holds before a write. When it exists no longer, value is
// the last one; when it never did, value is zero.
type held[V any] struct {
	value    V
	revision domain.Revision
	exists   bool
}

func newStore[K ~string, V any](clone func(V) V, kept int) *store[K, V] {
	return &store[K, V]{
		clone:    clone,
		kept:     kept,
		entries:  map[K]*entry[V]{},
		watchers: map[*watcher[K]]struct{}{},
		bells:    map[K]bells{},
	}
}

// get returns what key holds.
func (s *store[K, V]) get(key K) held[V] {
	s.mu.Lock()
	current := s.held(key)
	s.mu.Unlock()
	if !current.exists {
		return held[V]{}
	}
	current.value = s.clone(current.value)
	return current
}

// put stores what edit returns, unless it returns an error. edit is called
// under the lock and must not change or keep what it is shown.
func (s *store[K, V]) put(key K, edit func(held[V]) (V, error)) (version[V], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, err := edit(s.held(key))
	if err != nil {
		return version[V]{}, err
	}
	s.revision++
	stored := version[V]{value: s.clone(value), revision: s.revision}
	e, ok := s.entries[key]
	switch {
	case !ok:
		s.entries[key] = &entry[V]{revision: s.revision, versions: []version[V]{stored}}
	case e.deleted || s.kept == 1:
		*e = entry[V]{revision: s.revision, versions: append(e.versions[:0], stored)}
	default:
		if drop := len(e.versions) + 1 - s.kept; drop > 0 {
			e.versions = slices.Delete(e.versions, 0, drop)
		}
		e.versions = append(e.versions, stored)
		e.revision = s.revision
	}
	s.notify(key)
	return version[V]{value: s.clone(value), revision: s.revision}, nil
}

// delete removes key, unless check returns an error or key holds nothing.
func (s *store[K, V]) delete(key K, check func(held[V]) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.held(key)
	if err := check(current); err != nil || !current.exists {
		return err
	}
	s.revision++
	e := s.entries[key]
	*e = entry[V]{deleted: true, revision: s.revision, versions: slices.Clone(e.versions[len(e.versions)-1:])}
	s.notify(key)
	return nil
}

// history returns the remembered versions of key, oldest first.
func (s *store[K, V]) history(key K) []version[V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok || e.deleted {
		return nil
	}
	all := slices.Clone(e.versions)
	for i := range all {
		all[i].value = s.clone(all[i].value)
	}
	return all
}

// list returns the current value of every key, in the order of the revisions.
func (s *store[K, V]) list() []domain.Change[K, V] {
	s.mu.Lock()
	changes := s.since(0)
	s.mu.Unlock()
	for i := range changes {
		changes[i].Value = s.clone(changes[i].Value)
	}
	return changes
}

// watch follows the store with the protocol of domain.Change.
func (s *store[K, V]) watch(ctx context.Context, after domain.Revision, handle func(domain.Change[K, V]) error) error {
	w := &watcher[K]{bell: make(chan struct{}, 1), waits: map[K]bool{}}
	s.mu.Lock()
	first := s.since(after)
	s.watchers[w] = struct{}{}
	s.mu.Unlock()
	defer s.leave(w)

	first = append(first, domain.Change[K, V]{Kind: domain.ChangeCaughtUp})
	if err := s.deliver(ctx, first, handle); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.bell:
		}
		if err := s.deliver(ctx, s.take(w), handle); err != nil {
			return err
		}
	}
}

func (s *store[K, V]) deliver(ctx context.Context, changes []domain.Change[K, V], handle func(domain.Change[K, V]) error) error {
	for _, change := range changes {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // a watch that is cancelled ends well
		}
		if change.Kind == domain.ChangePut {
			change.Value = s.clone(change.Value)
		}
		if err := handle(change); err != nil {
			return err
		}
	}
	return nil
}

// listen rings bell after each write to key, until the returned function is
// called.
func (s *store[K, V]) listen(key K, bell chan struct{}) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bells[key] == nil {
		s.bells[key] = bells{}
	}
	s.bells[key].add(bell)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.bells[key], bell)
		if len(s.bells[key]) == 0 {
			delete(s.bells, key)
		}
	}
}

// held, since, notify and change are called under the lock.

func (s *store[K, V]) held(key K) held[V] {
	e, ok := s.entries[key]
	if !ok {
		return held[V]{}
	}
	last := e.versions[len(e.versions)-1]
	return held[V]{value: last.value, revision: e.revision, exists: !e.deleted}
}

func (s *store[K, V]) since(after domain.Revision) []domain.Change[K, V] {
	var changes []domain.Change[K, V]
	for key, e := range s.entries {
		if e.revision > after && (!e.deleted || after > 0) {
			changes = append(changes, change(key, e))
		}
	}
	slices.SortFunc(changes, func(a, b domain.Change[K, V]) int { return cmp.Compare(a.Revision, b.Revision) })
	return changes
}

func (s *store[K, V]) notify(key K) {
	for w := range s.watchers {
		w.add(key)
	}
	s.bells[key].ring()
}

func change[K ~string, V any](key K, e *entry[V]) domain.Change[K, V] {
	if e.deleted {
		return domain.Change[K, V]{Kind: domain.ChangeDeleted, Key: key, Revision: e.revision}
	}
	last := e.versions[len(e.versions)-1]
	return domain.Change[K, V]{Kind: domain.ChangePut, Key: key, Value: last.value, Revision: e.revision}
}
