package nats

import (
	"context"
	"errors"
	"net"
	"sync"
)

var (
	// errHeld ends the first, synchronous attempt of a connection that is to be
	// made in the background.
	errHeld = errors.New("not tried yet")
	// errDialerStopped ends attempts after Close.
	errDialerStopped = errors.New("connection is closed")
)

// dialer dials for nats.go, one connection at a time. nats.go forgets to close
// the socket of a failed attempt, so each dial closes the one before it.
type dialer struct {
	// dial honours stop.
	dial   func(network, address string) (net.Conn, error)
	cancel context.CancelFunc
	// prepare is called before each dial, and its error fails it; nil for none.
	prepare func(context.Context) error

	mu      sync.Mutex
	held    bool
	stopped bool
	last    net.Conn
	problem error
}

// newDialer returns a dialer whose dials end with ctx while dialing reports
// true, and with stop at any time. A held one refuses to dial until released.
func newDialer(ctx context.Context, held bool, dialing func() bool) *dialer {
	lifetime, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d := &dialer{held: held, cancel: cancel}
	d.dial = func(network, address string) (net.Conn, error) {
		until, done := context.WithCancel(lifetime)
		defer done()
		if dialing() {
			defer context.AfterFunc(ctx, done)()
		}
		if d.prepare != nil {
			if err := d.prepare(until); err != nil {
				return nil, err
			}
		}
		netDialer := net.Dialer{Timeout: dialTimeout}
		return netDialer.DialContext(until, network, address)
	}
	return d
}

// Dial is called by nats.go, which holds its own lock meanwhile.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	if err := d.closeLast(); err != nil {
		return nil, err
	}
	conn, err := d.dial(network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.problem = err
	if err != nil {
		return nil, err
	}
	if d.stopped {
		_ = conn.Close()
		return nil, errDialerStopped
	}
	d.last = conn
	return conn, nil
}

func (d *dialer) closeLast() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil {
		_ = d.last.Close() // closed already when it once worked
		d.last = nil
	}
	switch {
	case d.stopped:
		return errDialerStopped
	case d.held:
		return errHeld
	default:
		return nil
	}
}

// release lets a held dialer dial and reports whether it was held.
func (d *dialer) release() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	held := d.held
	d.held = false
	return held
}

// lastProblem is why the last dial failed, nil when it did not.
func (d *dialer) lastProblem() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.problem
}

// abort ends a handshake that is under way.
func (d *dialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil {
		_ = d.last.Close()
	}
}

// stop ends dials and handshakes for good.
func (d *dialer) stop() {
	d.cancel()
	d.mu.Lock()
	d.stopped = true
	d.mu.Unlock()
	d.abort()
}
