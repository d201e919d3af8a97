package agent

import (
	"context"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// runHeartbeats sends one heartbeat right after connecting and one in each
// interval that follows, spread so that a fleet's devices do not beat together.
// Without a connection it sleeps.
func (a *Agent) runHeartbeats(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	var sequence uint64
	var armed time.Duration
	for {
		due := false
		select {
		case <-ctx.Done():
			return
		case <-a.beatBell:
		case <-timer.C:
			due = true
		}
		a.mu.Lock()
		connected := a.linkState.Connected
		interval := a.heartbeatInterval()
		due = due || a.beatNow
		a.beatNow = false
		beat := contracts.Heartbeat{
			Sequence:          sequence + 1,
			AppliedGeneration: a.generation(),
			ReportSequence:    a.sent,
			AgentVersion:      a.options.Version,
		}
		a.mu.Unlock()
		if !connected {
			timer.Stop()
			armed = 0
			continue
		}
		if due {
			sequence++
			a.beat(ctx, beat)
		}
		if due || armed != interval {
			timer.Reset(a.options.spread(interval))
			armed = interval
		}
	}
}

func (a *Agent) beat(ctx context.Context, beat contracts.Heartbeat) {
	if err := a.reporter.Heartbeat(ctx, beat); err != nil {
		if ctx.Err() == nil {
			a.log.DebugContext(ctx, "heartbeat not sent", "error", err)
		}
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastBeat = time.Now()
}

// heartbeatInterval is the operator's wish, under the lock.
func (a *Agent) heartbeatInterval() time.Duration {
	if a.acceptance.held == nil {
		return contracts.DefaultHeartbeatInterval.Std()
	}
	return a.acceptance.held.state.HeartbeatInterval.Std()
}
