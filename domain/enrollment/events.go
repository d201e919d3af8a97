package enrollment

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// actor is who causes the events of a Service.
const actor = "enrollment"

// deny is the answer to a device that gets nothing, and an event.
func (s *Service) deny(ctx context.Context, device contracts.DeviceID, reason, message string) contracts.EnrollReply {
	s.refuse(ctx, device, device, reason, message)
	return contracts.EnrollReply{State: contracts.EnrollmentDenied, Reason: contracts.Clip(message, contracts.MaxMessageBytes)}
}

// refuse makes a refusal known: who asks again and again does so no more than
// once in a while for each reason. It is whose token it was, not whom the request
// names: strangers, "", are all alike.
func (s *Service) refuse(ctx context.Context, who, device contracts.DeviceID, reason, message string) {
	if !s.refused.allows(string(who)+" "+reason, time.Now()) {
		return
	}
	s.log.Warn("enrollment was refused", slog.String("device", string(device)), slog.String("reason", reason), slog.String("message", message))
	s.emit(ctx, contracts.EventEnrollmentRefused, device, reason, message)
}

// emit records an event. Enrollment does not wait for the log: what it does not
// take is lost, and said here.
func (s *Service) emit(ctx context.Context, kind contracts.EventKind, device contracts.DeviceID, reason, message string) {
	err := s.caps.Events.Append(ctx, contracts.Event{
		Time: time.Now().UTC(), Kind: kind, Device: device, Reason: reason, Actor: actor,
		Message: contracts.Clip(message, contracts.MaxMessageBytes),
	})
	if err != nil {
		s.log.Warn("an event was not recorded", slog.String("kind", string(kind)), slog.String("device", string(device)), slog.String("error", err.Error()))
	}
}

const (
	// refusalInterval is the shortest time between two equal refusals in the log.
	refusalInterval = time.Minute
	// maxRefusals bounds what is remembered, and with it the events of a flood
	// under ever new names.
	maxRefusals = 1000
)

// limiter lets each name through once in refusalInterval, and a bounded number
// of names. The zero value works.
type limiter struct {
	mu    sync.Mutex
	began time.Time
	seen  map[string]bool
}

func (l *limiter) allows(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil || now.Sub(l.began) >= refusalInterval {
		l.began, l.seen = now, map[string]bool{}
	}
	if l.seen[name] || len(l.seen) >= maxRefusals {
		return false
	}
	l.seen[name] = true
	return true
}
