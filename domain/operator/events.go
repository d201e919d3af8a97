package operator

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Who causes events, where it is known.
const (
	actorOperator = "operator"
	actorDevice   = "device"
)

// maxWaitingEvents is how many events wait for a slow log before new ones are
// dropped.
const maxWaitingEvents = 8192

// emit records an event. It never blocks: what the log cannot take in time is
// counted and lost.
func (e *engine) emit(event contracts.Event) {
	event.Time = e.now.UTC()
	event.Message = contracts.Clip(event.Message, maxFailure)
	select {
	case e.events <- event:
	default:
		e.status.EventsDropped++
	}
}

// logDropped says, now and then, how many events were lost.
func (e *engine) logDropped() {
	if e.status.EventsDropped == e.droppedLogged {
		return
	}
	e.log.Warn("events were lost because the event log does not keep up",
		slog.Uint64("lost", e.status.EventsDropped-e.droppedLogged))
	e.droppedLogged = e.status.EventsDropped
}

// Bounds of the pause before an event is offered to the log again.
const (
	leastEventPause = 100 * time.Millisecond
	mostEventPause  = 5 * time.Second
)

// appendEvents brings events to the log, in order, until ctx is cancelled.
func appendEvents(ctx context.Context, events <-chan contracts.Event, log domain.EventLog, logger *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-events:
			appendEvent(ctx, event, log, logger)
		}
	}
}

func appendEvent(ctx context.Context, event contracts.Event, log domain.EventLog, logger *slog.Logger) {
	pause := leastEventPause
	for {
		err := log.Append(ctx, event)
		if err == nil || ctx.Err() != nil {
			return
		}
		if !errors.Is(err, domain.ErrUnavailable) {
			logger.Error("an event was not accepted by the event log",
				slog.String("kind", string(event.Kind)), slog.String("about", event.About()), slog.Any("error", err))
			return
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, mostEventPause)
	}
}
