package process

import (
	"log/slog"
	"time"
)

// Options tune a Runtime. The zero value works.
type Options struct {
	// Logger gets starts, ends and what went wrong in the background; none by
	// default.
	Logger *slog.Logger
	// BackoffBase is the pause before the first restart, doubled for each
	// further end in a row up to BackoffMax; default 1 s and 60 s.
	BackoffBase time.Duration
	BackoffMax  time.Duration
	// StableAfter is how long a process must have run for its end to be the
	// first one in a row again; default 60 s.
	StableAfter time.Duration
	// CrashLoopEnds within CrashLoopWindow are reported as a crash loop; default
	// 3 within 5 minutes.
	CrashLoopEnds   int
	CrashLoopWindow time.Duration
	// LogBytes bounds each of the two log files of a service; default 5 MiB.
	LogBytes int64
	// PollInterval is how often to look at processes and logs on a host whose
	// kernel has no pidfd (before Linux 5.3) or no inotify instance left;
	// default 1 s. Elsewhere nothing is polled.
	PollInterval time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.BackoffBase, time.Second)
	setDefault(&o.BackoffMax, time.Minute)
	setDefault(&o.StableAfter, time.Minute)
	setDefault(&o.CrashLoopEnds, 3)
	setDefault(&o.CrashLoopWindow, 5*time.Minute)
	setDefault(&o.LogBytes, 5<<20)
	setDefault(&o.PollInterval, time.Second)
	return o
}

func setDefault[T int | int64 | time.Duration](value *T, fallback T) {
	if *value <= 0 {
		*value = fallback
	}
}

// backoff is the pause after that many failures in a row, 1 and more.
func (o Options) backoff(failures int) time.Duration {
	pause := o.BackoffBase
	for range failures - 1 {
		if pause >= o.BackoffMax {
			break
		}
		pause *= 2
	}
	return min(pause, o.BackoffMax)
}

// recent returns the last ends that count for a crash loop, no more than
// needed. Ends in the future come from a clock that was set back.
func (o Options) recent(ends []time.Time, now time.Time) []time.Time {
	var within []time.Time
	for _, end := range ends {
		if age := now.Sub(end); age >= 0 && age < o.CrashLoopWindow {
			within = append(within, end)
		}
	}
	return within[max(0, len(within)-o.CrashLoopEnds):]
}
