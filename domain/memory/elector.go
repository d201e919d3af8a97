package memory

import (
	"context"
	"errors"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// retryLead is the pause before an elector tries again after lead returned.
const retryLead = time.Second

// LeaderElector implements domain.LeaderElector for one process.
type LeaderElector struct {
	fleet    *Fleet
	identity string
	// cut is protected by the lock of the fleet.
	cut bool
}

var _ domain.LeaderElector = (*LeaderElector)(nil)

// election is who leads. The lock of the fleet protects it.
type election struct {
	leader *LeaderElector
	// revoke cancels the context of the leader's lead.
	revoke context.CancelFunc
	bells  bells
}

// Elector returns a new contender for the leadership.
func (f *Fleet) Elector(identity string) *LeaderElector {
	return &LeaderElector{fleet: f, identity: identity}
}

// Leader returns the identity of the one that leads, "" when nobody does.
func (f *Fleet) Leader() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.election.leader == nil {
		return ""
	}
	return f.election.leader.identity
}

// SetConnected cuts or restores the contender's connection. Without it, the
// contender cannot lead.
func (e *LeaderElector) SetConnected(connected bool) {
	e.fleet.mu.Lock()
	defer e.fleet.mu.Unlock()
	e.cut = !connected
	if e.cut {
		e.fleet.election.depose(e)
	}
	e.fleet.election.bells.ring()
}

// Lead implements domain.LeaderElector. It tries again one second after lead
// returned.
func (e *LeaderElector) Lead(ctx context.Context, lead func(ctx context.Context) error) error {
	for {
		leading, ok := e.acquire(ctx)
		if !ok {
			return nil
		}
		err := lead(leading)
		if leading.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // lead said how it ended
		}
		e.release()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryLead):
		}
	}
}

// acquire blocks until e leads, and returns the context of its leadership, or
// false once ctx is cancelled.
func (e *LeaderElector) acquire(ctx context.Context) (context.Context, bool) {
	bell := make(chan struct{}, 1)
	e.listen(bell)
	defer e.leave(bell)
	for ctx.Err() == nil {
		if leading := e.tryAcquire(ctx); leading != nil {
			return leading, true
		}
		select {
		case <-ctx.Done():
		case <-bell:
		}
	}
	return nil, false
}

func (e *LeaderElector) tryAcquire(ctx context.Context) context.Context {
	e.fleet.mu.Lock()
	defer e.fleet.mu.Unlock()
	if e.cut || e.fleet.stopped || e.fleet.election.leader != nil {
		return nil
	}
	leading, revoke := context.WithCancel(ctx)
	e.fleet.election.leader, e.fleet.election.revoke = e, revoke
	return leading
}

func (e *LeaderElector) release() {
	e.fleet.mu.Lock()
	defer e.fleet.mu.Unlock()
	e.fleet.election.depose(e)
}

// depose ends the leadership of e, if it leads. Called under the lock.
func (l *election) depose(e *LeaderElector) {
	if l.leader == nil || l.leader != e {
		return
	}
	l.revoke()
	l.leader, l.revoke = nil, nil
	l.bells.ring()
}

func (e *LeaderElector) listen(bell chan struct{}) {
	e.fleet.mu.Lock()
	defer e.fleet.mu.Unlock()
	e.fleet.election.bells.add(bell)
}

func (e *LeaderElector) leave(bell chan struct{}) {
	e.fleet.mu.Lock()
	defer e.fleet.mu.Unlock()
	delete(e.fleet.election.bells, bell)
}
