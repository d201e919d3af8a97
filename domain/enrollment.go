package domain

import (
	"context"
	"errors"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// EnrollmentIntent expects one device; see contracts.EnrollmentIntent.
type EnrollmentIntent struct {
	Device    contracts.DeviceID
	Labels    contracts.Labels
	State     contracts.EnrollmentState
	TokenHash string
	CreatedAt time.Time
	ExpiresAt time.Time
	// PublicKey is that of the device which used the token, in PKIX PEM.
	PublicKey string
	Reason    string
	// UserID, KeyID and KeyExpiresAt are set once the device has its identity.
	UserID       string
	KeyID        string
	KeyExpiresAt time.Time
	// BusyUntil is until when somebody makes the identity.
	BusyUntil time.Time
	// Revision is that of the store, zero when not stored.
	Revision Revision
}

// Validate returns an error of kind ErrInvalid that names the field.
func (e EnrollmentIntent) Validate() error {
	return WrapError(ErrInvalid, e.Record().Validate(), "enrollment of device %q", e.Device)
}

// Record returns the stored form.
func (e EnrollmentIntent) Record() contracts.EnrollmentIntent {
	return contracts.EnrollmentIntent{
		Device:       e.Device,
		Labels:       e.Labels,
		State:        e.State,
		TokenHash:    e.TokenHash,
		CreatedAt:    e.CreatedAt,
		ExpiresAt:    e.ExpiresAt,
		PublicKey:    e.PublicKey,
		Reason:       e.Reason,
		UserID:       e.UserID,
		KeyID:        e.KeyID,
		KeyExpiresAt: e.KeyExpiresAt,
		BusyUntil:    e.BusyUntil,
	}
}

// EnrollmentFromRecord is the inverse of Record.
func EnrollmentFromRecord(record contracts.EnrollmentIntent, revision Revision) EnrollmentIntent {
	return EnrollmentIntent{
		Device:       record.Device,
		Labels:       record.Labels,
		State:        record.State,
		TokenHash:    record.TokenHash,
		CreatedAt:    record.CreatedAt,
		ExpiresAt:    record.ExpiresAt,
		PublicKey:    record.PublicKey,
		Reason:       record.Reason,
		UserID:       record.UserID,
		KeyID:        record.KeyID,
		KeyExpiresAt: record.KeyExpiresAt,
		BusyUntil:    record.BusyUntil,
		Revision:     revision,
	}
}

// EnrollmentStore holds one intent for each device that was ever expected. It
// is safe for concurrent use. No method retries; an unreachable store gives
// ErrUnavailable.
type EnrollmentStore interface {
	// Get returns the device's intent, or ErrNotFound.
	Get(ctx context.Context, device contracts.DeviceID) (EnrollmentIntent, error)
	// List returns all intents, sorted by device.
	List(ctx context.Context) ([]EnrollmentIntent, error)
	// Create stores the first intent of a device and returns it with its
	// revision: ErrAlreadyExists when there is one, ErrInvalid when it does not
	// validate.
	Create(ctx context.Context, intent EnrollmentIntent) (EnrollmentIntent, error)
	// Update replaces the intent whose stored revision is intent.Revision and
	// returns it with its new one: ErrConflict when another revision is stored,
	// ErrNotFound when none is.
	Update(ctx context.Context, intent EnrollmentIntent) (EnrollmentIntent, error)
}

// UpdateEnrollment reads an intent, edits it and writes it back, and does so
// again when somebody else was faster. It returns the stored intent,
// ErrNotFound, or the first error that edit returns.
func UpdateEnrollment(ctx context.Context, store EnrollmentStore, device contracts.DeviceID, edit func(*EnrollmentIntent) error) (EnrollmentIntent, error) {
	for {
		intent, err := store.Get(ctx, device)
		if err != nil {
			return EnrollmentIntent{}, err
		}
		if err := edit(&intent); err != nil {
			return EnrollmentIntent{}, err
		}
		stored, err := store.Update(ctx, intent)
		if !errors.Is(err, ErrConflict) {
			return stored, err
		}
		if err := ctx.Err(); err != nil {
			return EnrollmentIntent{}, err
		}
	}
}

// EnrollmentTokenIssuer makes enrollment tokens with the fleet's signing key,
// wherever that is kept. Safe for concurrent use.
type EnrollmentTokenIssuer interface {
	// IssueToken returns a token for the device, valid until expires less a
	// fraction of a second: ErrInvalid when the device or the time is not
	// acceptable, ErrUnavailable when the holder of the key does not answer. The
	// token's text never reaches a log.
	IssueToken(ctx context.Context, device contracts.DeviceID, expires time.Time) (string, error)
}

// Enroller is the way of a device without identity to the fleet.
type Enroller interface {
	// Enroll asks once, for the device of the request, and returns the fleet's
	// answer, a refusal among them. ErrUnavailable when there is none before ctx
	// ends: asking the same again is safe.
	Enroll(ctx context.Context, request contracts.EnrollRequest) (contracts.EnrollReply, error)
}
