package nats

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// denialWindow is how long the same denial of the same client is not told
	// again.
	denialWindow = 10 * time.Minute
	// Beyond that, denials of all clients together are told so fast at most:
	// whoever can reach the broker must not be able to push real events out of
	// the log.
	denialBurst  = 20
	denialEvery  = 5 * time.Second
	denialQueue  = 64
	denialMaxLen = 900
)

// denialLog makes events of denials.
type denialLog struct {
	events domain.EventLog
	log    *slog.Logger
	queue  chan contracts.Event
	// told and untold count events and what was left out.
	told, untold atomic.Uint64

	mu       sync.Mutex
	began    time.Time
	current  map[denialKey]uint64
	previous map[denialKey]uint64
	// allowance is how many events may be told at refilled.
	allowance float64
	refilled  time.Time
}

// denialKey is who was denied and why. Strangers are all alike: what they say
// of themselves is not known to be true.
type denialKey struct {
	subject string
	reason  DenialReason
}

func newDenialLog(events domain.EventLog, log *slog.Logger) *denialLog {
	return &denialLog{
		events: events, log: log, queue: make(chan contracts.Event, denialQueue),
		current: map[denialKey]uint64{}, allowance: denialBurst,
	}
}

// note takes a denial. It does not block.
func (d *denialLog) note(denied denial, host string, now time.Time) {
	more, tell := d.admit(denialKey{subject: denied.subject, reason: denied.reason}, now)
	if !tell {
		d.untold.Add(1)
		return
	}
	select {
	case d.queue <- denialEvent(denied, host, more, now):
		d.told.Add(1)
	default:
		d.untold.Add(1)
	}
}

// admit reports whether a denial is told, and how many like it were not.
func (d *denialLog) admit(key denialKey, now time.Time) (more uint64, tell bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.began) >= denialWindow {
		d.previous, d.current, d.began = d.current, map[denialKey]uint64{}, now
	}
	if count, seen := d.current[key]; seen {
		d.current[key] = count + 1
		return 0, false
	}
	d.allowance = min(denialBurst, d.allowance+float64(now.Sub(d.refilled))/float64(denialEvery))
	d.refilled = now
	if d.allowance < 1 {
		return 0, false
	}
	d.allowance--
	d.current[key] = 0
	return d.previous[key], true
}

func denialEvent(denied denial, host string, more uint64, now time.Time) contracts.Event {
	message := denied.message
	if host != "" {
		message = "from " + host + ": " + message
	}
	if denied.device == "" && denied.subject != "" {
		message = fmt.Sprintf("subject %q %s", denied.subject, message)
	}
	if len(message) > denialMaxLen {
		message = message[:denialMaxLen] + "…"
	}
	message = strings.ToValidUTF8(message, "�")
	if more > 0 {
		message += fmt.Sprintf(" (and %d times more within %s)", more, denialWindow)
	}
	return contracts.Event{
		Time: now, Kind: contracts.EventAccessDenied, Device: denied.device,
		Reason: string(denied.reason), Message: message, Actor: "callout",
	}
}

// run stores events until ctx is cancelled. One that cannot be stored is
// logged instead.
func (d *denialLog) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-d.queue:
			if err := d.events.Append(ctx, event); err != nil && ctx.Err() == nil {
				d.log.Warn("a denial is not in the event log", slog.String("device", string(event.Device)),
					slog.String("reason", event.Reason), slog.String("denial", event.Message), slog.String("error", err.Error()))
			}
		}
	}
}
