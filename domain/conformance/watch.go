package conformance

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

// watchFunc is a Watch method.
type watchFunc[K ~string, V any] func(ctx context.Context, after domain.Revision, handle func(domain.Change[K, V]) error) error

// watched is a store, as seen by the obligations of its Watch method.
type watched[K ~string, V any] struct {
	// put stores value number n under key, and remove deletes it.
	put    func(t *testing.T, key K, n int)
	remove func(t *testing.T, key K)
	// number returns the n of a value.
	number func(V) int
	watch  watchFunc[K, V]
	// second is the watch of another client.
	second  watchFunc[K, V]
	restart func(t *testing.T)
}

// watchObligations are the protocol of domain.Change, for the store that
// adapt makes of a fixture.
func watchObligations[F any, K ~string, V any](adapt func(F) watched[K, V]) []obligation[F] {
	restart := named("Restart", func(_ *testing.T, w watched[K, V]) bool { return w.restart != nil })
	checks := []obligation[watched[K, V]]{
		{name: "watch of an empty store is caught up at once", check: watchEmpty[K, V]},
		{name: "watch gives the current state, then caught up once, then changes", check: watchCurrentThenChanges[K, V]},
		{name: "watch resumes after a revision, deletions included", check: watchResumes[K, V]},
		{name: "watch keeps the order of each key", check: watchOrder[K, V]},
		{name: "watch that is slow ends with the last values", check: watchSlow[K, V]},
		{name: "watch that is cancelled returns nil and handles nothing more", check: watchCancelled[K, V]},
		{name: "watch returns the error of its handler", check: watchHandlerError[K, V]},
		{name: "watches of two clients see everything", check: watchTwice[K, V]},
		{name: "watch goes on across a restart", check: watchRestart[K, V], needs: restart},
	}
	obligations := make([]obligation[F], len(checks))
	for i, c := range checks {
		obligations[i] = obligation[F]{
			name:  c.name,
			check: func(t *testing.T, f F) { c.check(t, adapt(f)) },
		}
		if c.needs != nil {
			obligations[i].needs = func(t *testing.T, f F) string { return c.needs(t, adapt(f)) }
		}
	}
	return obligations
}

// recorder keeps what a watch delivers.
type recorder[K ~string, V any] struct {
	*running
	mu      sync.Mutex
	changes []domain.Change[K, V]
}

// record watches until the subtest ends.
func record[K ~string, V any](t *testing.T, watch watchFunc[K, V], after domain.Revision) *recorder[K, V] {
	t.Helper()
	r := &recorder[K, V]{}
	r.running = start(t, func(ctx context.Context) error { return watch(ctx, after, r.add) })
	return r
}

func (r *recorder[K, V]) add(change domain.Change[K, V]) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, change)
	return nil
}

func (r *recorder[K, V]) all() []domain.Change[K, V] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.changes)
}

// caughtUp waits for the mark and returns what came before it.
func (r *recorder[K, V]) caughtUp(t *testing.T) []domain.Change[K, V] {
	t.Helper()
	mark := func() int {
		return slices.IndexFunc(r.all(), func(c domain.Change[K, V]) bool { return c.Kind == domain.ChangeCaughtUp })
	}
	eventually(t, func() bool { return mark() >= 0 }, "the watch must say that it is caught up")
	return r.all()[:mark()]
}

// awaits waits for a change and returns it.
func (r *recorder[K, V]) awaits(t *testing.T, what string, match func(domain.Change[K, V]) bool) domain.Change[K, V] {
	t.Helper()
	eventually(t, func() bool { return slices.ContainsFunc(r.all(), match) }, "the watch must deliver %s", what)
	all := r.all()
	return all[slices.IndexFunc(all, match)]
}

// isPut matches the value number n of key.
func (w watched[K, V]) isPut(key K, n int) func(domain.Change[K, V]) bool {
	return func(c domain.Change[K, V]) bool {
		return c.Kind == domain.ChangePut && c.Key == key && w.number(c.Value) == n
	}
}

func isDeleted[K ~string, V any](key K) func(domain.Change[K, V]) bool {
	return func(c domain.Change[K, V]) bool { return c.Kind == domain.ChangeDeleted && c.Key == key }
}

func watchEmpty[K ~string, V any](t *testing.T, w watched[K, V]) {
	r := record(t, w.watch, 0)
	require.Empty(t, r.caughtUp(t))
	mark := r.all()[0]
	require.Zero(t, mark.Key)
	require.Zero(t, mark.Value)
}

func watchCurrentThenChanges[K ~string, V any](t *testing.T, w watched[K, V]) {
	w.put(t, "a", 1)
	w.put(t, "b", 2)
	w.put(t, "b", 3)
	w.put(t, "gone", 4)
	w.remove(t, "gone")

	r := record(t, w.watch, 0)
	current := map[K]int{}
	for _, change := range r.caughtUp(t) {
		require.Equal(t, domain.ChangePut, change.Kind)
		require.NotZero(t, change.Revision)
		current[change.Key] = w.number(change.Value)
	}
	require.Equal(t, map[K]int{"a": 1, "b": 3}, current)

	w.put(t, "a", 5)
	r.awaits(t, "the update", w.isPut("a", 5))
	w.put(t, "c", 6)
	r.awaits(t, "the new value", w.isPut("c", 6))
	w.remove(t, "b")
	deleted := r.awaits(t, "the deletion", isDeleted[K, V]("b"))
	require.Zero(t, deleted.Value)
	require.NotZero(t, deleted.Revision)

	marks := 0
	for _, change := range r.all() {
		if change.Kind == domain.ChangeCaughtUp {
			marks++
		}
	}
	require.Equal(t, 1, marks)
}

func watchResumes[K ~string, V any](t *testing.T, w watched[K, V]) {
	w.put(t, "a", 1)
	w.put(t, "b", 2)
	first := record(t, w.watch, 0)
	var seen domain.Revision
	for _, change := range first.caughtUp(t) {
		seen = max(seen, change.Revision)
	}
	require.NoError(t, first.end(t))

	w.remove(t, "a")
	w.put(t, "c", 3)
	second := record(t, w.watch, seen)
	missed := map[K]domain.ChangeKind{}
	for _, change := range second.caughtUp(t) {
		require.Greater(t, change.Revision, seen)
		missed[change.Key] = change.Kind
	}
	require.Equal(t, map[K]domain.ChangeKind{"a": domain.ChangeDeleted, "c": domain.ChangePut}, missed)
	w.put(t, "b", 4)
	second.awaits(t, "what comes after", w.isPut("b", 4))
}

func watchOrder[K ~string, V any](t *testing.T, w watched[K, V]) {
	const last = 40
	r := record(t, w.watch, 0)
	var writers sync.WaitGroup
	for _, key := range []K{"a", "b"} {
		writers.Go(func() {
			for n := range last + 1 {
				w.put(t, key, n)
			}
		})
	}
	writers.Wait()
	r.awaits(t, "the last value of a", w.isPut("a", last))
	r.awaits(t, "the last value of b", w.isPut("b", last))

	revision, number := map[K]domain.Revision{}, map[K]int{"a": -1, "b": -1}
	for _, change := range r.all() {
		if change.Kind != domain.ChangePut {
			continue
		}
		assert.Greater(t, change.Revision, revision[change.Key])
		assert.Greater(t, w.number(change.Value), number[change.Key])
		revision[change.Key], number[change.Key] = change.Revision, w.number(change.Value)
	}
}

func watchSlow[K ~string, V any](t *testing.T, w watched[K, V]) {
	const last = 60
	release := make(chan struct{})
	r := &recorder[K, V]{}
	r.running = start(t, func(ctx context.Context) error {
		return w.watch(ctx, 0, func(change domain.Change[K, V]) error {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return r.add(change)
		})
	})
	for n := range last + 1 {
		w.put(t, "a", n)
	}
	close(release)
	r.awaits(t, "the last value", w.isPut("a", last))
}

func watchCancelled[K ~string, V any](t *testing.T, w watched[K, V]) {
	r := record(t, w.watch, 0)
	r.caughtUp(t)
	require.NoError(t, r.end(t))
	before := len(r.all())

	witness := record(t, w.second, 0)
	w.put(t, "a", 1)
	witness.awaits(t, "the value that the cancelled watch must not see", w.isPut("a", 1))
	require.Len(t, r.all(), before)
}

func watchHandlerError[K ~string, V any](t *testing.T, w watched[K, V]) {
	enough := errors.New("enough")
	w.put(t, "a", 1)
	for _, kind := range []domain.ChangeKind{domain.ChangePut, domain.ChangeCaughtUp} {
		var calls atomic.Int32
		r := start(t, func(ctx context.Context) error {
			return w.watch(ctx, 0, func(change domain.Change[K, V]) error {
				if change.Kind != kind {
					return nil
				}
				calls.Add(1)
				return enough
			})
		})
		require.ErrorIs(t, r.wait(t), enough)
		require.EqualValues(t, 1, calls.Load())
	}
}

func watchTwice[K ~string, V any](t *testing.T, w watched[K, V]) {
	w.put(t, "a", 1)
	for _, r := range []*recorder[K, V]{record(t, w.watch, 0), record(t, w.watch, 0), record(t, w.second, 0)} {
		r.caughtUp(t)
		w.put(t, "b", 2)
		r.awaits(t, "what was there", w.isPut("a", 1))
		r.awaits(t, "the new value", w.isPut("b", 2))
	}
}

func watchRestart[K ~string, V any](t *testing.T, w watched[K, V]) {
	w.put(t, "a", 1)
	r := &recorder[K, V]{}
	r.running = start(t, func(ctx context.Context) error {
		for {
			// A watch that cannot promise that nothing was missed says so, and
			// is begun again.
			if err := w.watch(ctx, 0, r.add); !errors.Is(err, domain.ErrUnavailable) {
				return err
			}
		}
	})
	r.caughtUp(t)
	w.restart(t)
	w.put(t, "a", 2)
	w.put(t, "b", 3)
	r.awaits(t, "the update after the restart", w.isPut("a", 2))
	r.awaits(t, "the new value after the restart", w.isPut("b", 3))
	require.NoError(t, r.end(t))
}
