package enrollment

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// rotateLifetime is how long a device has to use a token for its new key.
	rotateLifetime = time.Hour
	// rotateTimeout bounds the wait for one device.
	rotateTimeout = 20 * time.Second

	defaultRotateBefore = 30 * 24 * time.Hour
	defaultRotateEvery  = time.Hour
)

// RotatorOptions tune a Rotator. The zero value works.
type RotatorOptions struct {
	// Before is how long before its end a key is replaced; zero is 30 days.
	Before time.Duration
	// Every is the time between two looks; zero is 1h.
	Every time.Duration
	// Logger is told of devices that could not be asked; nil for none.
	Logger *slog.Logger
}

// Rotator has devices replace their keys before these expire: each gets a new
// enrollment token as a command, and enrolls with a new key. Its old key dies
// with that. One Rotator runs at a time.
type Rotator struct {
	intents  domain.EnrollmentStore
	issuer   domain.EnrollmentTokenIssuer
	commands domain.CommandBus
	options  RotatorOptions
	log      *slog.Logger
}

// NewRotator returns a rotator.
func NewRotator(intents domain.EnrollmentStore, issuer domain.EnrollmentTokenIssuer, commands domain.CommandBus, options RotatorOptions) *Rotator {
	options.Before = cmp.Or(options.Before, defaultRotateBefore)
	options.Every = cmp.Or(options.Every, defaultRotateEvery)
	log := options.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Rotator{intents: intents, issuer: issuer, commands: commands, options: options, log: log}
}

// Run looks for keys that expire soon, at once and then every while, until ctx is
// cancelled. A device that is offline is asked at a later look.
func (r *Rotator) Run(ctx context.Context) error {
	for {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("keys that expire soon could not be looked for", slog.String("error", err.Error()))
		}
		timer := time.NewTimer(r.options.Every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (r *Rotator) look(ctx context.Context) error {
	intents, err := r.intents.List(ctx)
	if err != nil {
		return err
	}
	for _, intent := range intents {
		if ctx.Err() != nil {
			return nil
		}
		if !r.due(intent, time.Now()) {
			continue
		}
		if err := Rotate(ctx, r.intents, r.issuer, r.commands, intent.Device); err != nil && ctx.Err() == nil {
			r.log.Warn("a device could not be asked to replace its key, and is asked again",
				slog.String("device", string(intent.Device)), slog.Time("expires", intent.KeyExpiresAt), slog.String("error", err.Error()))
		}
	}
	return nil
}

// due reports whether a key ends soon and nothing is under way about it.
func (r *Rotator) due(intent domain.EnrollmentIntent, now time.Time) bool {
	if intent.KeyExpiresAt.IsZero() || intent.KeyExpiresAt.Sub(now) > r.options.Before || !now.Before(intent.KeyExpiresAt) {
		return false
	}
	return intent.State == contracts.EnrollmentDone || !now.Before(intent.ExpiresAt)
}

// Rotate has one device replace its key. It returns nil once the device has taken
// it on; that it has its new key shows in its intent, which is Done again, and as
// an event. ErrUnavailable when the device is offline, ErrConflict when it is not
// enrolled.
func Rotate(ctx context.Context, intents domain.EnrollmentStore, issuer domain.EnrollmentTokenIssuer, commands domain.CommandBus, device contracts.DeviceID) error {
	ctx, cancel := context.WithTimeout(ctx, rotateTimeout)
	defer cancel()
	intent, err := intents.Get(ctx, device)
	if errors.Is(err, domain.ErrNotFound) || err == nil && intent.KeyID == "" {
		return domain.Errorf(domain.ErrConflict, "device %q was not enrolled, so there is no key to replace", device)
	}
	if err != nil {
		return err
	}
	// A token for a device that cannot take it would only spoil its intent.
	if _, err := domain.Call[contracts.PingResult](ctx, commands, device, contracts.VerbPing, contracts.Empty{}); err != nil {
		return err
	}
	// No labels: people may have changed them since.
	ticket, err := Prepare(ctx, issuer, Invitation{Device: device, Lifetime: rotateLifetime})
	if err != nil {
		return err
	}
	ticket.Intent.UserID, ticket.Intent.KeyID, ticket.Intent.KeyExpiresAt = intent.UserID, intent.KeyID, intent.KeyExpiresAt
	ticket.Intent.Revision, ticket.Intent.BusyUntil = intent.Revision, intent.BusyUntil
	if _, err := intents.Update(ctx, ticket.Intent); err != nil {
		return err
	}
	_, err = domain.Call[contracts.Empty](ctx, commands, device, contracts.VerbRotate, contracts.RotateRequest{Token: ticket.Token})
	return err
}
