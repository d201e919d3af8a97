package podman

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// attachEvery is how often a followed service that does not run is looked at.
const attachEvery = 500 * time.Millisecond

// Logs implements domain.WorkloadRuntime: standard output and error in the
// order in which they came. A followed log goes on through restarts and
// replacements of the service, and ends when the service is removed. The log
// of an init container can be read by its name.
func (r *Runtime) Logs(ctx context.Context, query domain.LogQuery) (io.ReadCloser, error) {
	c, err := r.serviceContainer(ctx, query.Deployment, query.Service)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	reader, writer := io.Pipe()
	log := &logReader{PipeReader: reader, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(log.done)
		defer cancel()
		stop := context.AfterFunc(ctx, func() { _ = writer.CloseWithError(ctx.Err()) })
		defer stop()
		_ = writer.CloseWithError(r.copyLog(ctx, c, query, writer))
	}()
	return log, nil
}

// logReader ends the copy when it is closed.
type logReader struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Close ends a blocked Read and waits for the copy.
func (l *logReader) Close() error {
	err := l.PipeReader.Close()
	l.cancel()
	<-l.done
	return err
}

// copyLog writes the log to w until its end, nil, or until w is closed.
func (r *Runtime) copyLog(ctx context.Context, c container, query domain.LogQuery, w io.Writer) error {
	if !query.Follow {
		return r.client.Logs(ctx, c.ID, engine.LogQuery{Tail: query.Tail}, w)
	}
	part := engine.LogQuery{Tail: query.Tail, Follow: true, Place: &engine.Place{}}
	for {
		leave := r.readers.enter(c.ID)
		err := r.client.Logs(ctx, c.ID, part, w)
		if _, refused := errors.AsType[*engine.Error](err); ctx.Err() != nil || err != nil && !refused && !errors.Is(err, domain.ErrUnavailable) {
			leave()
			return err // nobody reads any more
		}
		// It ended, or was removed, of which engines tell in many ways: go on
		// with its next run, or with what has taken its place.
		last, problem := c, err
		c, err = r.nextRun(ctx, last, sync.OnceFunc(func() {
			// Podman may end a followed log before the last lines are in it. What
			// fails here, such as that somebody has removed it, shows in nextRun.
			_ = r.client.Logs(ctx, last.ID, engine.LogQuery{Tail: part.Tail, Place: part.Place}, w)
			leave()
		}))
		leave()
		switch {
		case errors.Is(err, domain.ErrNotFound):
			return nil
		case err != nil:
			return err
		case problem != nil && c.ID == last.ID && !errors.Is(problem, domain.ErrUnavailable):
			return problem
		}
		if c.ID != last.ID {
			part = engine.LogQuery{Tail: -1, Follow: true, Place: &engine.Place{}}
		}
	}
}

// nextRun waits until the service runs anew, or has done so unnoticed, and
// calls idle when it sees it at rest. ErrNotFound when the service is gone.
func (r *Runtime) nextRun(ctx context.Context, last container, idle func()) (container, error) {
	ticker := time.NewTicker(attachEvery)
	defer ticker.Stop()
	for {
		c, err := r.serviceContainer(ctx, last.deployment(), last.service())
		switch {
		case errors.Is(err, domain.ErrUnavailable): // the engine is being restarted
		case err != nil:
			return container{}, err
		case c.State.Running(), c.State.Started() && (c.ID != last.ID || !c.State.StartedAt.Equal(last.State.StartedAt)):
			return c, nil
		default:
			idle()
		}
		select {
		case <-ctx.Done():
			return container{}, ctx.Err()
		case <-ticker.C:
		}
	}
}

// serviceContainer returns the container whose log is meant.
func (r *Runtime) serviceContainer(ctx context.Context, deployment contracts.DeploymentName, service string) (container, error) {
	containers, err := r.containers(ctx, r.oursOf(deployment))
	if err != nil {
		return container{}, err
	}
	if len(containers) == 0 {
		return container{}, domain.Errorf(domain.ErrNotFound, "deployment %q is not on this host", deployment)
	}
	// The last of a name is the one that was started last.
	slices.SortStableFunc(containers, func(a, b container) int {
		return a.State.StartedAt.Compare(b.State.StartedAt)
	})
	services, all := map[string]container{}, map[string]container{}
	for _, c := range containers {
		all[c.service()] = c
		if c.kind() == kindService {
			services[c.service()] = c
		}
	}
	if service == "" && len(services) == 1 {
		for service = range services {
			return services[service], nil
		}
	}
	if service == "" {
		return container{}, domain.Errorf(domain.ErrInvalid, "deployment %q has several services, name one of %v",
			deployment, slices.Sorted(maps.Keys(all)))
	}
	c, ok := all[service]
	if !ok {
		return container{}, domain.Errorf(domain.ErrNotFound, "deployment %q has no service %q, but %v",
			deployment, service, slices.Sorted(maps.Keys(all)))
	}
	return c, nil
}

// lastWords is how long an ended container is kept for those who read its log.
const lastWords = 5 * time.Second

// readers are the containers whose logs are being followed. An engine that
// removes a container ends its log at once, last lines unread: those that tell
// why it ended.
type readers struct {
	mu     sync.Mutex
	counts map[string]int
	left   chan struct{} // closed and replaced whenever one is done
}

// enter notes a reader; the returned function notes its end, once.
func (r *readers) enter(id string) (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts, r.left = map[string]int{}, make(chan struct{})
	}
	r.counts[id]++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.counts[id]--; r.counts[id] == 0 {
			delete(r.counts, id)
		}
		close(r.left)
		r.left = make(chan struct{})
	})
}

// wait returns once nobody reads the container's log, or has for too long.
func (r *readers) wait(ctx context.Context, id string) {
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	for {
		r.mu.Lock()
		reading, left := r.counts[id] > 0, r.left
		r.mu.Unlock()
		if !reading {
			return
		}
		select {
		case <-left:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
