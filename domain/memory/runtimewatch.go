package memory

import (
	"context"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Watch implements domain.WorkloadRuntime.
func (r *Runtime) Watch(ctx context.Context, handle func(contracts.DeploymentName)) error {
	w := &watcher[contracts.DeploymentName]{bell: make(chan struct{}, 1), waits: map[contracts.DeploymentName]bool{}}
	r.mu.Lock()
	r.watchers[w] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, w)
	}()
	for ctx.Err() == nil {
		for _, name := range r.takeChanged(w) {
			handle(name)
		}
		if err := r.awaitChange(ctx, w.bell); err != nil {
			return nil //nolint:nilerr // a watch that is cancelled ends well
		}
	}
	return nil
}

func (r *Runtime) takeChanged(w *watcher[contracts.DeploymentName]) []contracts.DeploymentName {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance(time.Now())
	names := slices.Clone(w.keys)
	w.keys = w.keys[:0]
	clear(w.waits)
	return names
}

// awaitChange blocks until bell rings or some service changes by itself.
func (r *Runtime) awaitChange(ctx context.Context, bell <-chan struct{}) error {
	var due <-chan time.Time
	r.mu.Lock()
	if _, s, at := r.earliest(); s != nil {
		due = time.After(time.Until(at))
	}
	r.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-bell:
	case <-due:
	}
	return ctx.Err()
}

// What follows is called under the lock.

// advance does all that services did by themselves up to now.
func (r *Runtime) advance(now time.Time) {
	for {
		name, s, at := r.earliest()
		if s == nil || at.After(now) {
			return
		}
		s.advance(at, r.nextPID)
		r.changed(name)
	}
}

// earliest returns the service that is the first to change by itself, nil when
// none will.
func (r *Runtime) earliest() (contracts.DeploymentName, *service, time.Time) {
	var first *service
	var firstName contracts.DeploymentName
	var firstAt time.Time
	for name, w := range r.workloads {
		for _, s := range w.services {
			if at, ok := s.next(); ok && (first == nil || at.Before(firstAt)) {
				first, firstName, firstAt = s, name, at
			}
		}
	}
	return firstName, first, firstAt
}

func (r *Runtime) nextPID() int {
	r.pids++
	return r.pids
}

func (r *Runtime) changed(name contracts.DeploymentName) {
	for w := range r.watchers {
		w.add(name)
	}
	r.bells.ring()
}
