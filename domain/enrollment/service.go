package enrollment

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// defaultKeyLifetime is how long a device's key is accepted.
const defaultKeyLifetime = 365 * 24 * time.Hour

// Capabilities are what the Service works with.
type Capabilities struct {
	Intents domain.EnrollmentStore
	Devices domain.DeviceRegistry
	Minter  domain.DeviceCredentialMinter
	Events  domain.EventLog
}

// Fleet is what an enrolled device is told.
type Fleet struct {
	// Issuer and ProjectID are those of the identity provider.
	Issuer, ProjectID string
	// Servers are the broker's URLs as devices reach it.
	Servers []string
	// ServerCA is the PEM of the broker's private certificate authority, if any.
	ServerCA string
	// SigningKeys are the keys that devices trust, and that sign tokens.
	SigningKeys []ed25519.PublicKey
}

// Options tune a Service. The zero value works.
type Options struct {
	// KeyLifetime is how long a device's key is accepted; zero is a year.
	KeyLifetime time.Duration
	// Policy decides about devices that nobody approved beforehand; nil leaves
	// all of them to people. It is asked at every request of such a device.
	Policy func() Policy
	// Logger is told of refusals and of what cannot be done now; nil for none.
	Logger *slog.Logger
}

// Service answers devices that enroll. Any number of them share the work: what
// happened is in the intents.
type Service struct {
	caps    Capabilities
	fleet   Fleet
	options Options
	log     *slog.Logger
	refused limiter
}

var _ domain.Enroller = (*Service)(nil)

// New returns a service.
func New(caps Capabilities, fleet Fleet, options Options) *Service {
	options.KeyLifetime = cmp.Or(options.KeyLifetime, defaultKeyLifetime)
	log := options.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Service{caps: caps, fleet: fleet, options: options, log: log}
}

// Enroll implements domain.Enroller. A device whose token is authentic is told
// why it gets nothing yet. Any other gets no answer but an error:
// ErrUnauthenticated when the token is forged or of another fleet,
// ErrPermissionDenied when it is another device's.
func (s *Service) Enroll(ctx context.Context, request contracts.EnrollRequest) (contracts.EnrollReply, error) {
	if err := request.Validate(); err != nil {
		return contracts.EnrollReply{}, domain.WrapError(domain.ErrInvalid, err, "enrollment request")
	}
	token, err := authentic(request.Token, s.fleet.SigningKeys)
	if err != nil {
		s.refuse(ctx, "", request.Device, "TokenForged", err.Error())
		return contracts.EnrollReply{}, err
	}
	if token.Device != request.Device {
		err := domain.Errorf(domain.ErrPermissionDenied, "the enrollment token is that of device %q, not of %q", token.Device, request.Device)
		s.refuse(ctx, token.Device, request.Device, "TokenOfAnotherDevice", err.Error())
		return contracts.EnrollReply{}, err
	}
	if err := expired(token, time.Now()); err != nil {
		return s.deny(ctx, request.Device, "TokenExpired", err.Error()), nil
	}
	if request.PublicKey, err = canonicalKey(request.PublicKey); err != nil {
		return s.deny(ctx, request.Device, "KeyNotUsable", err.Error()), nil
	}
	for {
		reply, err := s.advance(ctx, request)
		if err == nil {
			return reply, nil
		}
		if !errors.Is(err, domain.ErrConflict) {
			return s.later(request.Device, err), nil
		}
		if ctx.Err() != nil {
			return contracts.EnrollReply{}, domain.WrapError(domain.ErrUnavailable, ctx.Err(), "enrollment of device %q", request.Device)
		}
	}
}

// later is the answer when something that enrollment needs is away.
func (s *Service) later(device contracts.DeviceID, err error) contracts.EnrollReply {
	s.log.Warn("a device cannot be enrolled now; it asks again",
		slog.String("device", string(device)), slog.String("error", err.Error()))
	return contracts.EnrollReply{State: contracts.EnrollmentPending, Reason: "the fleet cannot enroll devices at the moment; its own log says why"}
}

// advance takes an intent as far as it goes now. ErrConflict when somebody else
// changed it meanwhile.
func (s *Service) advance(ctx context.Context, request contracts.EnrollRequest) (contracts.EnrollReply, error) {
	intent, err := s.caps.Intents.Get(ctx, request.Device)
	if errors.Is(err, domain.ErrNotFound) {
		return s.deny(ctx, request.Device, "NotExpected", "the fleet does not expect this device any more: ask for a new token"), nil
	}
	if err != nil {
		return contracts.EnrollReply{}, err
	}
	hash := contracts.HashEnrollmentToken(request.Token)
	if subtle.ConstantTimeCompare([]byte(hash), []byte(intent.TokenHash)) != 1 {
		return s.deny(ctx, request.Device, "TokenReplaced", "a newer token was made for this device: use that one"), nil
	}
	if !time.Now().Before(intent.ExpiresAt) {
		return s.deny(ctx, request.Device, "TokenExpired", fmt.Sprintf("the enrollment expired at %s: ask for a new token", intent.ExpiresAt.Format(time.RFC3339))), nil
	}
	if intent.PublicKey != "" && intent.PublicKey != request.PublicKey {
		return s.deny(ctx, request.Device, "TokenUsed", "the token was used with another key already: if that was not this device, deny the enrollment and make a new token"), nil
	}
	switch intent.State {
	case contracts.EnrollmentDone:
		return s.again(ctx, intent)
	case contracts.EnrollmentApproved:
		return s.complete(ctx, intent, request)
	case contracts.EnrollmentPending, contracts.EnrollmentReview:
		return s.decide(ctx, intent, request)
	case contracts.EnrollmentDenied:
		return s.denied(ctx, intent), nil
	default:
		return contracts.EnrollReply{}, domain.Errorf(domain.ErrInvalid, "enrollment of device %q has state %q", intent.Device, intent.State)
	}
}

// decide asks the policy about a device that nobody decided about yet, and
// binds the token to the device's key.
func (s *Service) decide(ctx context.Context, intent domain.EnrollmentIntent, request contracts.EnrollRequest) (contracts.EnrollReply, error) {
	var policy Policy = Rules{}
	if s.options.Policy != nil {
		policy = s.options.Policy()
	}
	before := intent
	approved, why := policy.Decide(intent, request.Inventory)
	intent.PublicKey, intent.Reason = request.PublicKey, contracts.Clip(why, contracts.MaxMessageBytes)
	intent.State = contracts.EnrollmentReview
	if approved {
		intent.State = contracts.EnrollmentApproved
	}
	if intent.State != before.State || intent.Reason != before.Reason || intent.PublicKey != before.PublicKey {
		stored, err := s.caps.Intents.Update(ctx, intent)
		if err != nil {
			return contracts.EnrollReply{}, err
		}
		intent = stored
	}
	if approved {
		s.emit(ctx, contracts.EventEnrollmentApproved, intent.Device, "Policy", why)
		return s.complete(ctx, intent, request)
	}
	if before.State == contracts.EnrollmentPending {
		s.emit(ctx, contracts.EventEnrollmentRequested, intent.Device, "Review", why)
	}
	return contracts.EnrollReply{State: contracts.EnrollmentReview, Reason: why}, nil
}
