package domain

import (
	"context"
	"errors"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// FleetDevice is a registered device: what people and the enrollment decided
// about it. What it says about itself is in FleetState.
type FleetDevice struct {
	ID contracts.DeviceID
	// Labels are set by people and win over whatever the device reports.
	Labels contracts.Labels
	// PublicKey is the enrolled key in PKIX PEM, empty before enrollment.
	PublicKey string
	// Revoked devices may not connect and take part in no rollout.
	Revoked      bool
	RegisteredAt time.Time
	// Revision is that of the store, zero when not stored.
	Revision Revision
}

// Validate returns an error of kind ErrInvalid that names the field.
func (d FleetDevice) Validate() error {
	return WrapError(ErrInvalid, d.Record().Validate(), "device %q", d.ID)
}

// Record returns the stored form.
func (d FleetDevice) Record() contracts.DeviceRecord {
	return contracts.DeviceRecord{
		ID:           d.ID,
		Labels:       d.Labels,
		PublicKey:    d.PublicKey,
		Revoked:      d.Revoked,
		RegisteredAt: d.RegisteredAt,
	}
}

// DeviceFromRecord is the inverse of Record.
func DeviceFromRecord(record contracts.DeviceRecord, revision Revision) FleetDevice {
	return FleetDevice{
		ID:           record.ID,
		Labels:       record.Labels,
		PublicKey:    record.PublicKey,
		Revoked:      record.Revoked,
		RegisteredAt: record.RegisteredAt,
		Revision:     revision,
	}
}

// DeviceChange is a step of DeviceRegistry.Watch.
type DeviceChange = Change[contracts.DeviceID, FleetDevice]

// DeviceRegistry is the store of registered devices. It is safe for concurrent
// use. No method retries; an unreachable store gives ErrUnavailable.
type DeviceRegistry interface {
	// Get returns the device, or ErrNotFound.
	Get(ctx context.Context, id contracts.DeviceID) (FleetDevice, error)
	// List returns the devices whose labels set by people match, sorted by ID.
	// The empty selector returns all.
	List(ctx context.Context, selector contracts.LabelSelector) ([]FleetDevice, error)
	// Create stores a device that is not registered yet and returns it with its
	// revision: ErrAlreadyExists when it is registered, ErrInvalid when it does
	// not validate. A deleted device can be created again.
	Create(ctx context.Context, device FleetDevice) (FleetDevice, error)
	// Update replaces the device whose stored revision is device.Revision and
	// returns it with its new one: ErrConflict when another revision is stored,
	// ErrNotFound when none is.
	Update(ctx context.Context, device FleetDevice) (FleetDevice, error)
	// Delete removes the device whose stored revision is the given one, with
	// the errors of Update.
	Delete(ctx context.Context, id contracts.DeviceID, revision Revision) error
	// Watch follows the registry; see Change for the protocol.
	Watch(ctx context.Context, after Revision, handle func(DeviceChange) error) error
}

// UpdateDevice reads a device, edits it and writes it back, and does so again
// when somebody else was faster. It returns the stored device, ErrNotFound, or
// the first error that edit returns.
func UpdateDevice(ctx context.Context, registry DeviceRegistry, id contracts.DeviceID, edit func(*FleetDevice) error) (FleetDevice, error) {
	for {
		device, err := registry.Get(ctx, id)
		if err != nil {
			return FleetDevice{}, err
		}
		if err := edit(&device); err != nil {
			return FleetDevice{}, err
		}
		stored, err := registry.Update(ctx, device)
		if !errors.Is(err, ErrConflict) {
			return stored, err
		}
		if err := ctx.Err(); err != nil {
			return FleetDevice{}, err
		}
	}
}
