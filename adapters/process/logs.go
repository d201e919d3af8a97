package process

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/nationtech/harmony-fleet/domain"
)

// Logs returns what the service wrote to stdout and stderr, as it is. Without
// Follow it ends where the log ended at the call. With Follow it goes on
// across restarts of the service and ends with the service's removal. Closing
// the reader ends a blocked Read with os.ErrClosed, and ctx with its error.
func (r *Runtime) Logs(ctx context.Context, query domain.LogQuery) (io.ReadCloser, error) {
	s, err := r.chooseService(query)
	if err != nil {
		return nil, err
	}
	position, err := s.log.tail(query.Tail)
	if err != nil {
		return nil, err
	}
	_, end := s.log.bounds()
	reader := &logReader{log: s.log, dir: s.dir, position: position, end: end}
	if query.Follow {
		reader.events = newFileEvents(r.host.poll)
	}
	reader.detach = context.AfterFunc(ctx, func() { reader.finish(ctx.Err()) })
	return reader, nil
}

func (r *Runtime) chooseService(query domain.LogQuery) (*service, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.deployments[query.Deployment]
	if !ok {
		return nil, domain.Errorf(domain.ErrNotFound, "deployment %q does not run on this device", query.Deployment)
	}
	if query.Service != "" {
		if s, ok := d.services[query.Service]; ok {
			return s, nil
		}
		return nil, domain.Errorf(domain.ErrNotFound, "deployment %q has no service %q on this device", query.Deployment, query.Service)
	}
	if len(d.services) > 1 {
		return nil, domain.Errorf(domain.ErrInvalid, "deployment %q has %d services: name one of them", query.Deployment, len(d.services))
	}
	for _, s := range d.services {
		return s, nil
	}
	return nil, domain.Errorf(domain.ErrNotFound, "deployment %q has no service on this device", query.Deployment)
}

// logReader reads one log from a position on.
type logReader struct {
	log      *logFile
	dir      string
	position int64
	end      int64
	events   *fileEvents // nil when not following
	detach   func() bool

	mu   sync.Mutex
	done error
}

// Read blocks at the end of a followed log until there is more.
func (r *logReader) Read(p []byte) (int, error) {
	for {
		if err := r.finished(); err != nil {
			return 0, err
		}
		if r.events == nil {
			return r.readToEnd(p)
		}
		// Armed before the look, so that nothing is written unnoticed after it.
		armErr := r.events.arm(r.dir)
		n, next, err := r.log.readAt(p, r.position)
		r.position = next
		switch {
		case n > 0 || len(p) == 0 || err != nil:
			return n, err
		case errors.Is(armErr, fs.ErrNotExist):
			return 0, io.EOF
		}
		if err := r.events.wait(); err != nil && r.finished() == nil {
			return 0, err
		}
	}
}

func (r *logReader) readToEnd(p []byte) (int, error) {
	if r.position >= r.end {
		return 0, io.EOF
	}
	n, next, err := r.log.readAt(p[:min(int64(len(p)), r.end-r.position)], r.position)
	r.position = next
	if n == 0 && err == nil && len(p) > 0 {
		return 0, io.EOF
	}
	return n, err
}

// Close ends a blocked Read. It returns nil, also when called again.
func (r *logReader) Close() error {
	r.detach()
	r.finish(os.ErrClosed)
	return nil
}

func (r *logReader) finish(why error) {
	r.mu.Lock()
	if r.done == nil {
		r.done = why
	}
	r.mu.Unlock()
	if r.events != nil {
		r.events.close()
	}
}

func (r *logReader) finished() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}
