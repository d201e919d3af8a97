package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// maxLogSessions bounds the logs that are read at the same time.
	maxLogSessions = 16
	// logSessionLife is how long a session lives without being asked.
	logSessionLife = 30 * time.Second
	// logPatience is how long a reply waits for a log that does not follow.
	logPatience = 10 * time.Second
	// logPiece is how much is read at a time.
	logPiece = 16 << 10
)

// logSessions are the logs that somebody reads over the command bus. Each session
// reads ahead one reply's worth at most.
type logSessions struct {
	mu      sync.Mutex
	open    map[string]*logSession
	ended   bool
	running sync.WaitGroup
}

// logSession is one log that is being read.
type logSession struct {
	id         string
	deployment contracts.DeploymentName
	service    string
	cancel     context.CancelFunc
	// The lock of the sessions protects the next two.
	expiry *time.Timer
	busy   bool

	mu     sync.Mutex
	buffer []byte
	// err is why nothing more will come, io.EOF at the end of the log.
	err error
	// arrived and room wake the two sides.
	arrived chan struct{}
	room    chan struct{}
}

func newLogSessions() *logSessions { return &logSessions{open: map[string]*logSession{}} }

// logs answers one request for a piece of a log.
func (a *Agent) logs(ctx context.Context, request contracts.LogsRequest) (contracts.LogsResult, error) {
	session, err := a.logSession(ctx, request)
	if err != nil {
		return contracts.LogsResult{}, err
	}
	wait := request.Wait.Std()
	if !request.Follow {
		wait = max(wait, logPatience)
	}
	chunk, err := session.take(ctx, wait)
	a.sessions.release(session, err != nil)
	switch {
	case errors.Is(err, io.EOF):
		return contracts.LogsResult{Chunk: chunk, End: true}, nil
	case err != nil:
		return contracts.LogsResult{}, err
	default:
		return contracts.LogsResult{Session: session.id, Chunk: chunk}, nil
	}
}

func (a *Agent) logSession(ctx context.Context, request contracts.LogsRequest) (*logSession, error) {
	if request.Session != "" {
		return a.sessions.resume(request)
	}
	runtime, err := a.runtimeOf(request.Deployment)
	if err != nil {
		return nil, err
	}
	query := domain.LogQuery{Deployment: request.Deployment, Service: request.Service, Tail: request.Tail, Follow: request.Follow}
	return a.sessions.begin(ctx, request, func(ctx context.Context) (io.ReadCloser, error) { return runtime.Logs(ctx, query) })
}

// runtimeOf returns the runtime that has the deployment, or shall have it.
func (a *Agent) runtimeOf(name contracts.DeploymentName) (domain.WorkloadRuntime, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, known := a.tasks[name]
	if known && t.host != nowhere {
		return a.hosts[t.host].runtime, nil
	}
	for _, h := range a.hosts {
		if _, there := h.status(name); there {
			return h.runtime, nil
		}
	}
	return nil, domain.Errorf(domain.ErrNotFound, "deployment %q is not on this device", name)
}

// begin opens a session, which its caller releases. It outlives the request but
// not the agent.
func (l *logSessions) begin(ctx context.Context, request contracts.LogsRequest, open func(context.Context) (io.ReadCloser, error)) (*logSession, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil, domain.Errorf(domain.ErrUnavailable, "the agent is stopping")
	}
	if len(l.open) >= maxLogSessions {
		return nil, domain.Errorf(domain.ErrUnavailable, "%d logs of this device are being read, no more are allowed: try again in %s", maxLogSessions, logSessionLife)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &logSession{
		id:         rand.Text(),
		deployment: request.Deployment,
		service:    request.Service,
		cancel:     cancel,
		busy:       true,
		arrived:    make(chan struct{}, 1),
		room:       make(chan struct{}, 1),
	}
	s.expiry = time.AfterFunc(logSessionLife, func() { l.expire(s) })
	s.expiry.Stop()
	l.open[s.id] = s
	l.running.Go(func() { s.read(ctx, open) })
	return s, nil
}

// resume returns an open session, which its caller releases.
func (l *logSessions) resume(request contracts.LogsRequest) (*logSession, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.open[request.Session]
	if !ok || s.deployment != request.Deployment || s.service != request.Service {
		return nil, domain.Errorf(domain.ErrNotFound, "no log of deployment %q is being read in that session: it may have expired, begin again", request.Deployment)
	}
	if s.busy {
		return nil, domain.Errorf(domain.ErrConflict, "the log of deployment %q is being read by another request of the same session", request.Deployment)
	}
	s.busy = true
	s.expiry.Stop()
	return s, nil
}

// release ends the session, or lets it wait for the next request.
func (l *logSessions) release(s *logSession, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.busy = false
	if end || l.ended {
		l.drop(s)
		return
	}
	s.expiry.Reset(logSessionLife)
}

func (l *logSessions) expire(s *logSession) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !s.busy {
		l.drop(s)
	}
}

// drop is called under the lock.
func (l *logSessions) drop(s *logSession) {
	delete(l.open, s.id)
	s.expiry.Stop()
	s.cancel()
}

// end closes every session and waits for them.
func (l *logSessions) end() {
	l.mu.Lock()
	l.ended = true
	for _, s := range l.open {
		l.drop(s)
	}
	l.mu.Unlock()
	l.running.Wait()
}

// read fills the session from the log until its end or until ctx is cancelled.
func (s *logSession) read(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) {
	defer s.cancel()
	reader, err := open(ctx)
	if err != nil {
		s.add(nil, err)
		return
	}
	var closing sync.WaitGroup
	closing.Go(func() {
		<-ctx.Done() // closing ends a blocked Read
		_ = reader.Close()
	})
	defer closing.Wait()
	defer s.cancel()
	piece := make([]byte, logPiece)
	for {
		n, err := reader.Read(piece)
		if s.add(piece[:n], err); err != nil {
			return
		}
		for s.full() {
			select {
			case <-ctx.Done():
				return
			case <-s.room:
			}
		}
	}
}

func (s *logSession) add(piece []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffer = append(s.buffer, piece...)
	s.err = err
	if len(piece) > 0 || err != nil {
		ring(s.arrived)
	}
}

// full reports whether another piece might not fit into one reply.
func (s *logSession) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.buffer)+logPiece > contracts.MaxLogChunk
}

// take returns what was read, waiting for it if need be. The error is io.EOF, with
// the last bytes, at the end of the log; any other comes after the last bytes.
func (s *logSession) take(ctx context.Context, wait time.Duration) ([]byte, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		s.mu.Lock()
		chunk, err := s.buffer, s.err
		if len(chunk) > 0 || err != nil {
			s.buffer = nil
			s.mu.Unlock()
			ring(s.room)
			if len(chunk) > 0 && !errors.Is(err, io.EOF) {
				err = nil
			}
			return chunk, err
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, nil
		case <-over.C:
			return nil, nil
		case <-s.arrived:
		}
	}
}
