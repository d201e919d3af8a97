package memory

import "github.com/nationtech/harmony-fleet/domain"

// bells wake whoever waits for something to change. The lock of their owner
// protects them; a bell is a channel of capacity one, made by the one who waits.
type bells map[chan struct{}]struct{}

func (b bells) add(bell chan struct{}) { b[bell] = struct{}{} }

func (b bells) ring() {
	for bell := range b {
		ring(bell)
	}
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // it rings already
	}
}

// watcher is a queue of changed keys, each at most once: a slow watch gets the
// last value of a key and needs no more memory than there are keys.
type watcher[K ~string] struct {
	bell  chan struct{}
	keys  []K
	waits map[K]bool
}

func (w *watcher[K]) add(key K) {
	if w.waits[key] {
		return
	}
	w.waits[key] = true
	w.keys = append(w.keys, key)
	ring(w.bell)
}

// take empties the queue of w.
func (s *store[K, V]) take(w *watcher[K]) []domain.Change[K, V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := make([]domain.Change[K, V], len(w.keys))
	for i, key := range w.keys {
		changes[i] = change(key, s.entries[key])
	}
	w.keys = w.keys[:0]
	clear(w.waits)
	return changes
}

func (s *store[K, V]) leave(w *watcher[K]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, w)
}
