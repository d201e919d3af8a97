package enrollment

import (
	"context"
	"errors"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Invitation is what a person wants of a device that is to come.
type Invitation struct {
	Device contracts.DeviceID
	Labels contracts.Labels
	// Lifetime is how long the token is of use.
	Lifetime time.Duration
	// Manual leaves the decision to the policy or a person, for when the device
	// has asked. Otherwise it is approved beforehand.
	Manual bool
}

// Ticket is an intent with its token, which is nowhere else.
type Ticket struct {
	Intent domain.EnrollmentIntent
	Token  string
}

// intent is what becomes of it; the token's hash is yet to come.
func (i Invitation) intent() domain.EnrollmentIntent {
	now := time.Now().UTC().Truncate(time.Second)
	intent := domain.EnrollmentIntent{
		Device:    i.Device,
		Labels:    i.Labels,
		State:     contracts.EnrollmentApproved,
		TokenHash: contracts.HashEnrollmentToken(""),
		CreatedAt: now,
		ExpiresAt: now.Add(i.Lifetime),
	}
	if i.Manual {
		intent.State = contracts.EnrollmentPending
	}
	return intent
}

// Prepare gets a token for an invitation and returns it with its intent, which
// is not stored yet: Store does that.
func Prepare(ctx context.Context, issuer domain.EnrollmentTokenIssuer, invitation Invitation) (Ticket, error) {
	intent := invitation.intent()
	if err := intent.Validate(); err != nil {
		return Ticket{}, err
	}
	text, err := issuer.IssueToken(ctx, intent.Device, intent.ExpiresAt)
	if err != nil {
		return Ticket{}, err
	}
	return ticket(text, intent)
}

// Resume is Prepare with a token that was made before.
func Resume(text string, invitation Invitation) (Ticket, error) {
	return ticket(text, invitation.intent())
}

func ticket(text string, intent domain.EnrollmentIntent) (Ticket, error) {
	token, err := contracts.ParseEnrollmentToken(text)
	if err != nil || token.Device != intent.Device {
		return Ticket{}, domain.Errorf(domain.ErrInvalid, "the token for device %q is not one", intent.Device)
	}
	intent.TokenHash, intent.ExpiresAt = contracts.HashEnrollmentToken(text), token.ExpiresAt
	return Ticket{Intent: intent, Token: text}, intent.Validate()
}

// Store makes a ticket's token valid. An earlier token of the device dies when
// replace is set; otherwise ErrAlreadyExists when there is an earlier intent. It
// reports whether anything changed: storing a ticket again does nothing.
func (t Ticket) Store(ctx context.Context, store domain.EnrollmentStore, replace bool) (changed bool, err error) {
	for {
		_, err := store.Create(ctx, t.Intent)
		if !errors.Is(err, domain.ErrAlreadyExists) {
			return err == nil, err
		}
		current, err := store.Get(ctx, t.Intent.Device)
		switch {
		case errors.Is(err, domain.ErrNotFound):
			continue
		case err != nil:
			return false, err
		case current.TokenHash == t.Intent.TokenHash:
			return false, nil
		case !replace:
			return false, domain.Errorf(domain.ErrAlreadyExists, "device %q has an enrollment already, %s since %s", current.Device, current.State, current.CreatedAt.Format(time.RFC3339))
		}
		next := t.Intent
		next.Revision, next.BusyUntil = current.Revision, current.BusyUntil
		if _, err = store.Update(ctx, next); !errors.Is(err, domain.ErrConflict) && !errors.Is(err, domain.ErrNotFound) {
			return err == nil, err
		}
		if err := ctx.Err(); err != nil {
			return false, domain.WrapError(domain.ErrUnavailable, err, "enrollment of device %q", t.Intent.Device)
		}
	}
}

// Approve lets a device collect its credential: ErrNotFound when it is not
// expected, ErrConflict when it has one or its token has expired. To approve
// again is harmless.
func Approve(ctx context.Context, store domain.EnrollmentStore, device contracts.DeviceID) (domain.EnrollmentIntent, error) {
	return domain.UpdateEnrollment(ctx, store, device, func(intent *domain.EnrollmentIntent) error {
		if err := open(*intent); err != nil {
			return err
		}
		if !time.Now().Before(intent.ExpiresAt) {
			return domain.Errorf(domain.ErrConflict, "the token of device %q expired at %s: make a new one", device, intent.ExpiresAt.Format(time.RFC3339))
		}
		intent.State, intent.Reason = contracts.EnrollmentApproved, ""
		return nil
	})
}

// Deny refuses a device until somebody approves it, with the errors of Approve.
func Deny(ctx context.Context, store domain.EnrollmentStore, device contracts.DeviceID, reason string) (domain.EnrollmentIntent, error) {
	return domain.UpdateEnrollment(ctx, store, device, func(intent *domain.EnrollmentIntent) error {
		if err := open(*intent); err != nil {
			return err
		}
		intent.State, intent.Reason = contracts.EnrollmentDenied, reason
		return nil
	})
}

func open(intent domain.EnrollmentIntent) error {
	if intent.State == contracts.EnrollmentDone {
		return domain.Errorf(domain.ErrConflict, "device %q has its credential already: revoke it to keep it out", intent.Device)
	}
	return nil
}
