package agent

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Options of an agent. The zero value works.
type Options struct {
	// Version of the agent: 1 to 28 letters, digits, '.', '-' and '+'.
	Version string
	// Info returns the device's labels, inventory and boot ID. The agent adds
	// its version, its start and the runtimes where they are empty. It is called
	// at every connection, every few minutes and by commands, from several
	// goroutines, and must not block for long.
	Info func() contracts.DeviceInfo
	// ResyncInterval is the time between two looks at each runtime, in addition
	// to those after a change; default 30s.
	ResyncInterval time.Duration
	// BackoffMin and BackoffMax bound the time until a failed step of a
	// deployment is tried again; default 1s and 5m.
	BackoffMin time.Duration
	BackoffMax time.Duration
	// MaxConcurrent is how many Apply and Remove calls may begin at the same
	// time; default 8. A call that takes long does not count any more.
	MaxConcurrent int
	// Exec is which commands may be run from afar; default ExecNone.
	Exec ExecPolicy
	// Rotate takes on the replacement of the device's key by means of an
	// enrollment token; nil when the key is not the agent's.
	Rotate func(ctx context.Context, token string) error
	// Jitter returns random numbers in [0,1); default rand.Float64. It is called
	// from several goroutines.
	Jitter func() float64
	// Logger; default: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.ResyncInterval = cmp.Or(o.ResyncInterval, 30*time.Second)
	o.BackoffMin = cmp.Or(o.BackoffMin, time.Second)
	o.BackoffMax = cmp.Or(o.BackoffMax, 5*time.Minute)
	o.MaxConcurrent = cmp.Or(o.MaxConcurrent, 8)
	if o.Info == nil {
		o.Info = func() contracts.DeviceInfo { return contracts.DeviceInfo{} }
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// backoff returns the time until the next try after that many failures in a
// row: it doubles from BackoffMin to BackoffMax, and is shortened by up to a
// fifth at random so that a fleet's devices do not come back all at once.
func (o Options) backoff(failures int) time.Duration {
	delay := o.BackoffMin
	for range failures - 1 {
		if delay >= o.BackoffMax {
			break
		}
		delay *= 2
	}
	delay = min(delay, o.BackoffMax)
	return delay - time.Duration(o.Jitter()*float64(delay)/5)
}

// spread returns interval, more or less up to a tenth.
func (o Options) spread(interval time.Duration) time.Duration {
	return interval + time.Duration((2*o.Jitter()-1)*float64(interval)/10)
}
