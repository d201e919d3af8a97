package device

import (
	"fmt"
	"time"
)

// skewTolerance is the difference between clocks that nobody needs to hear of.
const skewTolerance = 5 * time.Second

// clock is the time of the provider. A device may have no battery for its own
// clock, and an assertion from its future, or from an hour ago, is refused.
type clock struct {
	// server is the provider's time at local; both are zero until it has been
	// measured.
	server, local time.Time
}

// now returns the provider's time, or the local one until measured. The local
// clock may be set in between: what has passed is taken from the monotonic one.
func (c clock) now() time.Time {
	if c.local.IsZero() {
		return time.Now().Round(0)
	}
	return c.server.Add(time.Since(c.local))
}

// measured returns the clock as the Date of an answer shows it that arrived at
// the given time.
func (c clock) measured(date, arrived time.Time) clock {
	if date.IsZero() {
		return c
	}
	return clock{server: date, local: arrived}
}

// skew returns how far the local clock is ahead of the provider's.
func (c clock) skew() time.Duration {
	if c.local.IsZero() {
		return 0
	}
	return time.Now().Round(0).Sub(c.now()).Round(time.Second)
}

// skewed reports whether the skew is worth a word.
func skewed(skew time.Duration) bool { return skew.Abs() > skewTolerance }

// describeSkew says what is wrong with the local clock and what to do.
func describeSkew(skew time.Duration) string {
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return fmt.Sprintf("the clock of this device is %s %s the identity provider's: set it, for example with timedatectl set-ntp true", skew.Abs(), direction)
}
