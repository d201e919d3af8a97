package nats

import (
	"context"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// clockSkew is how much later than its own time an event may have been stored,
// or earlier, when the clocks differ.
const clockSkew = time.Hour

// EventLog is the domain.EventLog in the stream "fleet-events".
type EventLog struct {
	conn *Conn
}

var _ domain.EventLog = (*EventLog)(nil)

// NewEventLog returns an event log over the operator's or a tool's connection.
func NewEventLog(conn *Conn) *EventLog { return &EventLog{conn: conn} }

// Append implements domain.EventLog.
func (e *EventLog) Append(ctx context.Context, event contracts.Event) error {
	if err := e.conn.refuseViewer("write events"); err != nil {
		return err
	}
	data, err := contracts.Encode(event)
	if err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "event %s", event.Kind)
	}
	_, err = e.conn.js.Publish(ctx, contracts.EventSubject(event.Kind, event.About()), data)
	return translate(err, "store event %s about %q", event.Kind, event.About())
}

// Read implements domain.EventLog.
func (e *EventLog) Read(ctx context.Context, query domain.EventQuery, handle func(contracts.Event) error) error {
	spec := followSpec{stream: contracts.StreamEvents, subjects: eventSubjects(query)}
	if !query.Since.IsZero() && query.Since.Before(time.Now()) {
		spec.since = query.Since.Add(-clockSkew)
	}
	if !query.Follow {
		spec.caughtUp = func() error { return errCaughtUp }
	}
	err := e.conn.follow(ctx, spec, func(message stored) error {
		event, err := contracts.Decode[contracts.Event](message.data)
		if err != nil {
			e.conn.log.Warn("stored event does not decode and is left out", slog.String("subject", message.subject), slog.String("error", err.Error()))
			return nil
		}
		if !query.Matches(event) {
			return nil
		}
		return handle(event)
	})
	if query.Follow {
		return err
	}
	return caughtUpOr(ctx, err)
}

// eventSubjects lets the server leave out what the query does not choose. The
// subject of an event names its device rather than its deployment.
func eventSubjects(query domain.EventQuery) []string {
	kind, about := contracts.EventKind("*"), "*"
	if query.Kind != "" {
		kind = query.Kind
	}
	if query.Device != "" {
		about = string(query.Device)
	}
	return []string{contracts.EventSubject(kind, about)}
}
