package nats

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	idleHeartbeat     = 5 * time.Second
	inactiveThreshold = 10 * time.Second
	firstRetry        = 250 * time.Millisecond
	lastRetry         = 5 * time.Second
)

// stored is one message of a stream.
type stored struct {
	subject  string
	header   nats.Header
	data     []byte
	sequence uint64
	// at is when it was stored, in this process's clock.
	at time.Time
	// initial is set when it was stored before the following began and nothing
	// of it was delivered since.
	initial bool
}

// followSpec says what to follow.
type followSpec struct {
	stream string
	// subjects filter the stream; none for all of it.
	subjects []string
	// Where to begin: after a sequence, or when that is zero with the last
	// message of each subject, or at a time, or with the first message.
	after uint64
	last  bool
	since time.Time
	// caughtUp is called once, when there is nothing more to deliver.
	caughtUp func() error
	// make makes the stream when it is missing, and then a stream that lost its
	// past is followed from its beginning. Without it, both end the following.
	make func(context.Context) error
}

// follow calls handle with the messages of a stream in order, from one
// goroutine at a time, across reconnections. It returns nil after ctx is
// cancelled, the first error of handle or caughtUp, the error of the first
// attempt when that fails, and ErrUnavailable when something may have been
// missed.
func (c *Conn) follow(ctx context.Context, spec followSpec, handle func(stored) error) error {
	if c.viewing {
		return c.walk(ctx, spec, handle)
	}
	f := &follower{conn: c, spec: spec, handle: handle, last: spec.after}
	delay := firstRetry
	for {
		_, epoch, _ := c.link()
		err := f.attempt(ctx)
		final, isFinal := errors.AsType[*finalError](err)
		switch {
		case isFinal:
			return final.cause
		case ctx.Err() != nil:
			return nil
		case !f.begun:
			return translate(err, "follow stream %s", spec.stream)
		}
		if err == nil {
			delay = firstRetry
		} else {
			delay = min(2*delay, lastRetry)
		}
		if !c.pauseFollowing(ctx, epoch, delay) {
			return nil
		}
	}
}

// pauseFollowing waits until connected, and for delay unless the connection is
// a new one. It returns false after ctx is cancelled or the connection closed.
func (c *Conn) pauseFollowing(ctx context.Context, epoch uint64, delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	waited := false
	for {
		state, now, changed := c.link()
		if state.Connected && (waited || now != epoch) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-c.closed:
			return false
		case <-timer.C:
			waited = true
		case <-changed:
		}
	}
}

// finalError ends the following with its cause, which may be nil.
type finalError struct{ cause error }

func (e *finalError) Error() string { return "following ended" }

var (
	errBroken       = errors.New("the flow of messages was interrupted")
	errStreamIsLost = errors.New("the stream was lost and made again")
)
