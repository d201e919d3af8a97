// Package fleettest runs the real programs of a fleet and observes them from
// outside, for the demo, the end-to-end tests and the benchmarks.
package fleettest

import (
	"context"
	"fmt"
	"time"
)

// pollInterval is how often a condition is looked at.
const pollInterval = 20 * time.Millisecond

// Until looks at a condition until it holds or ctx ends. The error says what
// was waited for and what was seen last.
func Until(ctx context.Context, what string, condition func() (ok bool, seen string)) error {
	return UntilEvery(ctx, pollInterval, what, condition)
}

// UntilEvery is Until for a condition that costs something to look at.
func UntilEvery(ctx context.Context, interval time.Duration, what string, condition func() (ok bool, seen string)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		ok, seen := condition()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s; last seen: %s", what, seen)
		case <-ticker.C:
		}
	}
}
