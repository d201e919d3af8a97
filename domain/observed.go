package domain

import (
	"context"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Observation is one thing that a device said. Exactly one of Info, Report,
// Heartbeat and CaughtUp is set.
type Observation struct {
	Device contracts.DeviceID
	// At is when it was received, in this process's clock as well as it is
	// known.
	At        time.Time
	Info      *contracts.DeviceInfo
	Report    *contracts.DeviceReport
	Heartbeat *contracts.Heartbeat
	// CaughtUp marks that the last info, report and heartbeat of every device
	// have been delivered.
	CaughtUp bool
}

// ObservedStateConsumer is the operator's side of what devices say. Safe for
// concurrent use, and any number of consumers see everything.
type ObservedStateConsumer interface {
	// Consume calls handle with the last of each kind that each device said,
	// then CaughtUp once, then with what they say from then on. Several
	// observations of one kind from one device may be merged into the last, and
	// some may be lost while the connection is. What does not decode is left
	// out. Consume blocks, calls handle from one goroutine at a time, and
	// returns nil after ctx is cancelled, the first error of handle, or
	// ErrUnavailable when it must begin again.
	Consume(ctx context.Context, handle func(Observation) error) error
	// Forget removes what a device said; nil when it said nothing.
	Forget(ctx context.Context, device contracts.DeviceID) error
}

// ObservedStateReporter is one device's side. Sending is at most once: nil
// means sent, not received. No method blocks for a connection: without one
// they return ErrUnavailable and nothing is kept.
type ObservedStateReporter interface {
	// Info sends what the device is.
	Info(ctx context.Context, info contracts.DeviceInfo) error
	// Report sends what the device runs.
	Report(ctx context.Context, report contracts.DeviceReport) error
	// Heartbeat sends a sign of life.
	Heartbeat(ctx context.Context, heartbeat contracts.Heartbeat) error
}

// LinkState is whether a device is connected.
type LinkState struct {
	Connected bool
	// Server is the address of the broker when connected.
	Server string
	// Since is when it became so.
	Since time.Time
	// Problem is why the last attempt failed, for people.
	Problem string
}

// Link tells a device whether it is connected.
type Link interface {
	// Watch calls handle with the current state and with each later one;
	// states in between may be left out. It blocks and returns nil after ctx is
	// cancelled.
	Watch(ctx context.Context, handle func(LinkState)) error
}
