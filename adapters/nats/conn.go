package nats

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nationtech/harmony-fleet/domain"
)

// Conn is a connection to the broker that the capabilities share. It
// reconnects for ever. Safe for concurrent use.
type Conn struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	log    *slog.Logger
	dialer *dialer
	ready  atomic.Bool // nc is set
	closed chan struct{}
	// viewing is set once, before the connection is used: see DetectViewer.
	viewing bool
	// tokens is nil for other credentials.
	tokens    *tokenKeeper
	stopRenew context.CancelFunc
	renewing  sync.WaitGroup

	mu    sync.Mutex
	state domain.LinkState
	// epoch counts the connections made.
	epoch   uint64
	changed chan struct{}
}

var _ domain.Link = (*Conn)(nil)

// Connect returns a connection that the caller must Close. With FailFast it
// blocks until connected: ErrUnavailable when no server can be reached,
// ErrUnauthenticated when the credential is refused, both after one attempt.
// Without, it does not block, and ctx only lends its values. ErrInvalid when
// the configuration cannot work.
func Connect(ctx context.Context, config Config) (*Conn, error) {
	c := &Conn{
		log:     orDiscard(config.Logger),
		closed:  make(chan struct{}),
		changed: make(chan struct{}),
		state:   domain.LinkState{Since: time.Now()},
	}
	var connecting atomic.Bool
	connecting.Store(config.FailFast)
	c.dialer = newDialer(ctx, !config.FailFast, connecting.Load)
	if config.Credential.source != nil {
		c.tokens = &tokenKeeper{source: config.Credential.source}
		c.dialer.prepare = c.tokens.prepare
	}
	options, err := c.options(config)
	if err != nil {
		c.dialer.stop()
		return nil, err
	}
	stopWatching := func() bool { return true }
	if config.FailFast {
		stopWatching = context.AfterFunc(ctx, c.dialer.abort)
	}
	nc, err := nats.Connect(joinServers(config.Servers), options...)
	stopWatching()
	connecting.Store(false)
	if err != nil {
		c.dialer.stop()
		return nil, connectError(ctx, err, c.dialer.lastProblem())
	}
	c.nc = nc
	c.ready.Store(true)
	c.keepTokens(ctx)
	if c.js, err = jetstream.New(nc); err != nil {
		c.Close()
		return nil, domain.WrapError(domain.ErrInvalid, err, "JetStream context")
	}
	if config.FailFast {
		if err := c.AwaitConnection(ctx); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// connectError says why, and what to do. The servers are not named in it but by
// the dialer's error: their URLs may hold a password.
func connectError(ctx context.Context, err, dial error) error {
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	if errors.Is(err, nats.ErrNoServers) && dial != nil {
		err = errors.Join(err, dial)
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch kind := kindOf(err); {
	case untrusted:
		return domain.WrapError(kind, err, "the broker's certificate is not trusted here: check that the server URL is right, and that the certificate authority that is named, or the system's without one, is the broker's own")
	case errors.Is(err, errNoToken):
		return domain.WrapError(kind, dial, "cannot connect to the broker")
	case errors.Is(kind, domain.ErrUnauthenticated):
		return domain.WrapError(kind, err, "the broker refused the credential: check which one is used, and that the broker knows it")
	default:
		return domain.WrapError(kind, cmp.Or(dial, err), "cannot connect to the broker: check that it runs and that the server URL is right")
	}
}

// Close sends what is under way, ends all subscriptions and disconnects. It
// blocks for a few seconds at most.
func (c *Conn) Close() {
	c.stopRenew()
	defer c.renewing.Wait()
	if !c.isConnected() || c.nc.Drain() != nil {
		c.dialer.stop()
		c.nc.Close()
	}
	select {
	case <-c.closed:
	case <-time.After(2 * drainTimeout):
		c.dialer.stop()
		c.nc.Close()
		<-c.closed
	}
	c.dialer.stop()
}

// Watch is domain.Link. It also returns nil after Close.
func (c *Conn) Watch(ctx context.Context, handle func(domain.LinkState)) error {
	for {
		state, _, changed := c.link()
		handle(state)
		select {
		case <-ctx.Done():
			return nil
		case <-c.closed:
			return nil
		case <-changed:
		}
	}
}

// AwaitConnection blocks until the connection is up and returns nil, or
// ErrUnavailable with the last problem when ctx ends first.
func (c *Conn) AwaitConnection(ctx context.Context) error {
	for {
		state, _, changed := c.link()
		if state.Connected {
			return nil
		}
		select {
		case <-ctx.Done():
			return domain.WrapError(domain.ErrUnavailable, ctx.Err(), "not connected to the broker (%s)", cmp.Or(state.Problem, "still trying"))
		case <-c.closed:
			return domain.Errorf(domain.ErrUnavailable, "the connection to the broker is closed")
		case <-changed:
		}
	}
}

// link returns the state, the number of connections made, and a channel that
// is closed when either changes.
func (c *Conn) link() (domain.LinkState, uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.epoch, c.changed
}

// isConnected never blocks, unlike the question of nats.go, which waits while
// a handshake is under way.
func (c *Conn) isConnected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Connected
}

// requireConnection returns ErrUnavailable when not connected.
func (c *Conn) requireConnection() error {
	if state, _, _ := c.link(); !state.Connected {
		return domain.Errorf(domain.ErrUnavailable, "not connected to the broker (%s)", cmp.Or(state.Problem, "still trying"))
	}
	return nil
}

func (c *Conn) connected(nc *nats.Conn) {
	server := nc.ConnectedUrlRedacted()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.setLocked(domain.LinkState{Connected: true, Server: server, Since: time.Now()})
}

func (c *Conn) disconnected(_ *nats.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	problem := "connection lost"
	if err != nil {
		problem = err.Error()
	}
	c.setLocked(domain.LinkState{Since: time.Now(), Problem: problem})
}

func (c *Conn) attemptFailed(_ *nats.Conn, err error) {
	if err == nil || isAny(err, errHeld, errDialerStopped) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Connected || c.state.Problem == err.Error() {
		return
	}
	c.setLocked(domain.LinkState{Since: c.state.Since, Problem: err.Error()})
}

// noteHandshakeProblem asks nats.go why the last attempt failed: it tells of
// failed dials, but not of failed handshakes.
func (c *Conn) noteHandshakeProblem() {
	if c.ready.Load() {
		c.attemptFailed(c.nc, c.nc.LastError())
	}
}

func (c *Conn) setLocked(state domain.LinkState) {
	c.state = state
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Conn) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if err == nil {
		return
	}
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.log.Warn("the broker refused what this client may not do: check that the credential is its own, and that the broker knows it under this name",
			slog.String("error", err.Error()))
		return
	}
	c.log.Warn("broker reported an error", slog.String("error", err.Error()), slog.String("subject", subject))
}
