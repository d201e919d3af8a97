package kube

import (
	"context"
	"time"
)

// inspection looks now and then whether a bridge can still do its work. Followers
// of the API server take definitions or rights that vanish for a quiet time, so
// somebody has to ask.
type inspection struct {
	// look returns what is missing. It is called again after each interval.
	look     func(ctx context.Context) error
	interval time.Duration
}

// strikes is how many looks in a row have to fail: one request may get lost.
const strikes = 2

// Start implements manager.Runnable. It returns what is missing, which ends the
// life of the bridge, or nil when ctx is cancelled.
func (i inspection) Start(ctx context.Context) error {
	for failed := 0; sleep(ctx, i.interval); {
		err := i.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failed = 0
		default:
			if failed++; failed == strikes {
				return err
			}
		}
	}
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: who waits for the
// Lease has to know as well.
func (inspection) NeedLeaderElection() bool { return false }
