package process

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/nationtech/harmony-fleet/contracts"
)

// hints tells watchers which deployments changed. A slow watcher holds nobody
// up: it is told each name once.
type hints struct {
	mu       sync.Mutex
	watchers map[*watcher]bool
}

type watcher struct {
	pending map[contracts.DeploymentName]bool // guarded by hints.mu
	wake    chan struct{}
}

func (h *hints) tell(name contracts.DeploymentName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.pending[name] = true
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (h *hints) add() *watcher {
	w := &watcher{pending: map[contracts.DeploymentName]bool{}, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == nil {
		h.watchers = map[*watcher]bool{}
	}
	h.watchers[w] = true
	return w
}

func (h *hints) remove(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

func (h *hints) take(w *watcher) []contracts.DeploymentName {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := slices.Sorted(maps.Keys(w.pending))
	clear(w.pending)
	return names
}

// Watch tells handle of the end and the restart of processes. Only Run notices
// them, so it must be running.
func (r *Runtime) Watch(ctx context.Context, handle func(contracts.DeploymentName)) error {
	w := r.hints.add()
	defer r.hints.remove(w)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		for _, name := range r.hints.take(w) {
			if ctx.Err() != nil {
				return nil
			}
			handle(name)
		}
	}
}
