package memory

import (
	"context"
	"slices"
	"sync"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// keptEvents bounds the audit.
const keptEvents = 10_000

// EventLog implements domain.EventLog. It keeps the last 10,000 events.
type EventLog struct{ fleet *Fleet }

var _ domain.EventLog = (*EventLog)(nil)

// Events returns the audit.
func (f *Fleet) Events() *EventLog { return &EventLog{fleet: f} }

type eventLog struct {
	mu     sync.Mutex
	events []contracts.Event
	// first is the number of events[0], counted from the first event ever.
	first int
	bells bells
}

// Append implements domain.EventLog.
func (l *EventLog) Append(ctx context.Context, event contracts.Event) error {
	if err := event.Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "event %s", event.Kind)
	}
	if err := l.fleet.reach(ctx); err != nil {
		return err
	}
	log := &l.fleet.events
	log.mu.Lock()
	defer log.mu.Unlock()
	log.events = append(log.events, event)
	// Dropping a quarter at a time keeps appending cheap.
	if drop := keptEvents / 4; len(log.events) > keptEvents+drop {
		log.events = slices.Delete(log.events, 0, drop)
		log.first += drop
	}
	log.bells.ring()
	return nil
}

// Read implements domain.EventLog.
func (l *EventLog) Read(ctx context.Context, query domain.EventQuery, handle func(contracts.Event) error) error {
	if err := l.fleet.reach(ctx); err != nil {
		if query.Follow && ctx.Err() != nil {
			return nil //nolint:nilerr // following that is cancelled ends well
		}
		return err
	}
	log := &l.fleet.events
	bell := make(chan struct{}, 1)
	log.listen(bell)
	defer log.leave(bell)

	next := 0
	for {
		var events []contracts.Event
		events, next = log.from(next)
		for _, event := range events {
			if err := ctx.Err(); err != nil {
				break
			}
			if !query.Matches(event) {
				continue
			}
			if err := handle(event); err != nil {
				return err
			}
		}
		if !query.Follow {
			return domain.WrapError(domain.ErrUnavailable, ctx.Err(), "the events were not read to the end")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-bell:
		}
	}
}

// from returns the kept events beginning with number next, and the number of
// the one that follows them.
func (l *eventLog) from(next int) ([]contracts.Event, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := max(0, len(l.events)-keptEvents)
	events := slices.Clone(l.events[max(oldest, next-l.first):])
	return events, l.first + len(l.events)
}

func (l *eventLog) listen(bell chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bells.add(bell)
}

func (l *eventLog) leave(bell chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.bells, bell)
}
