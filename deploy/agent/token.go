package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// TokenSource returns the one-time token that a device enrolls with. It is asked
// only while the device has no identity. held is the token that an earlier run
// left, "" when there is none. Errors never hold a token.
type TokenSource func(ctx context.Context, held string) (string, error)

// tokenMargin is how long a token must be of use for it to be worth a try.
const tokenMargin = 10 * time.Second

// checkToken returns an error when the text is not a token that this device can
// still use.
func checkToken(text string, device contracts.DeviceID) error {
	token, err := contracts.ParseEnrollmentToken(text)
	again := fmt.Sprintf("make a new one: fleet enroll create %s --replace --token-file FILE", device)
	switch {
	case err != nil:
		return deploy.WithNext(domain.WrapError(domain.ErrInvalid, err, "the enrollment token is not whole"), "copy it again, or %s", again)
	case token.Device != device:
		return deploy.WithNext(domain.Errorf(domain.ErrInvalid, "the enrollment token is that of device %q", token.Device), "name that of %s, or %s", device, again)
	case time.Until(token.ExpiresAt) < tokenMargin:
		return deploy.WithNext(domain.Errorf(domain.ErrInvalid, "the enrollment token expired at %s", token.ExpiresAt.Format(time.RFC3339)), "%s", again)
	}
	return nil
}

// Inviter expects devices in a fleet, with the rights of its operator.
type Inviter struct {
	Issuer  domain.EnrollmentTokenIssuer
	Intents domain.EnrollmentStore
	// Events gets a record of each device that is approved beforehand.
	Events domain.EventLog
	// Actor is who does it, for that record.
	Actor string
	// Replace invites devices anew that have an identity already or were denied:
	// the earlier key dies when the new one starts.
	Replace bool
}

// Token invites a device, or returns the held token when that is still the one
// that the fleet expects. ErrAlreadyExists when the device has an identity
// elsewhere, ErrPermissionDenied when it was denied.
func (i Inviter) Token(ctx context.Context, held string, invitation enrollment.Invitation) (string, error) {
	current, err := i.Intents.Get(ctx, invitation.Device)
	switch {
	case errors.Is(err, domain.ErrNotFound):
	case err != nil:
		return "", err
	case held != "" && current.TokenHash == contracts.HashEnrollmentToken(held) && checkToken(held, invitation.Device) == nil:
		return held, nil
	case i.Replace:
	case current.State == contracts.EnrollmentDone:
		return "", deploy.WithNext(domain.Errorf(domain.ErrAlreadyExists, "device %s has an identity already, which is not on this host", current.Device),
			"see that no other host is %s; if this host takes its place, as after a reinstallation, let it: replace: true", current.Device)
	case current.State == contracts.EnrollmentDenied:
		return "", deploy.WithNext(domain.Errorf(domain.ErrPermissionDenied, "the enrollment of device %s was denied: %s", current.Device, current.Reason),
			"if it was denied by mistake, invite it anew: replace: true")
	}
	ticket, err := enrollment.Prepare(ctx, i.Issuer, invitation)
	if err != nil {
		if errors.Is(err, domain.ErrUnavailable) {
			err = deploy.WithNext(err, "see that fleet-operator runs: it signs the tokens")
		}
		return "", err
	}
	if _, err := ticket.Store(ctx, i.Intents, true); err != nil {
		return "", err
	}
	if ticket.Intent.State != contracts.EnrollmentApproved {
		return ticket.Token, nil
	}
	return ticket.Token, i.Events.Append(ctx, contracts.Event{
		Kind: contracts.EventEnrollmentApproved, Device: invitation.Device, Reason: "Invited", Time: time.Now().UTC(), Actor: i.Actor,
		Message: "approved beforehand, token valid until " + ticket.Intent.ExpiresAt.Format(time.RFC3339),
	})
}
