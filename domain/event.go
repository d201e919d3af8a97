package domain

import (
	"context"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// EventQuery chooses events; zero fields choose all.
type EventQuery struct {
	Device     contracts.DeviceID
	Deployment contracts.DeploymentName
	Kind       contracts.EventKind
	Since      time.Time
	// Follow goes on with later events instead of returning.
	Follow bool
}

// Matches reports whether the query chooses the event.
func (q EventQuery) Matches(event contracts.Event) bool {
	return (q.Device == "" || q.Device == event.Device) &&
		(q.Deployment == "" || q.Deployment == event.Deployment) &&
		(q.Kind == "" || q.Kind == event.Kind) &&
		!event.Time.Before(q.Since)
}

// EventLog is the audit: what happened to whom, when and why. It keeps the
// newest events up to a bound. Safe for concurrent use.
type EventLog interface {
	// Append stores one event: ErrInvalid when it does not validate,
	// ErrUnavailable when it is not known to be stored.
	Append(ctx context.Context, event contracts.Event) error
	// Read calls handle with the kept events that the query chooses, oldest
	// first. Without Follow it then returns nil; with it, it goes on until ctx
	// is cancelled and returns nil. The first error of handle ends it.
	Read(ctx context.Context, query EventQuery, handle func(contracts.Event) error) error
}
