package enrollment

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// busyTime is how long one request has an intent for itself, and mintTime,
	// which is less, how long it works on it: clocks differ a little.
	busyTime = 40 * time.Second
	mintTime = 30 * time.Second
	// releaseTime bounds the end of a request that failed.
	releaseTime = 5 * time.Second
)

// complete gives an approved device its identity. It may stop between any two
// steps; the device asks again, and each step is harmless when it is repeated.
// One request at a time does it: each has the provider remove the keys of others.
func (s *Service) complete(ctx context.Context, intent domain.EnrollmentIntent, request contracts.EnrollRequest) (contracts.EnrollReply, error) {
	now := time.Now().UTC().Truncate(time.Second)
	if now.Before(intent.BusyUntil) {
		return contracts.EnrollReply{State: contracts.EnrollmentPending, Reason: "the device is being enrolled at this moment, because of an earlier request: ask again"}, nil
	}
	// From here on the token is for this key alone.
	intent.PublicKey, intent.BusyUntil = request.PublicKey, now.Add(busyTime)
	intent, err := s.caps.Intents.Update(ctx, intent)
	if err != nil {
		return contracts.EnrollReply{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, mintTime)
	defer cancel()
	reply, err := s.identify(ctx, intent)
	if err != nil || reply.State != contracts.EnrollmentDone {
		s.release(ctx, intent)
	}
	return reply, err
}

// release ends a request that made nothing of lasting worth: the next one may
// have the intent at once, and what a denial refused meanwhile is taken back. When
// it fails, the next request has to wait.
func (s *Service) release(ctx context.Context, intent domain.EnrollmentIntent) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	free := intent
	free.BusyUntil = time.Time{}
	_, err := s.caps.Intents.Update(ctx, free)
	if errors.Is(err, domain.ErrConflict) {
		var stored domain.EnrollmentIntent
		if stored, err = s.caps.Intents.Get(ctx, intent.Device); err == nil && stored.State == contracts.EnrollmentDenied {
			s.withdraw(ctx, intent)
		}
	}
	if err != nil {
		s.log.Warn("an enrollment that failed is tried again in a while only", slog.String("device", string(intent.Device)), slog.String("error", err.Error()))
	}
}

// identify makes the identity and records it.
func (s *Service) identify(ctx context.Context, intent domain.EnrollmentIntent) (contracts.EnrollReply, error) {
	device, known, err := s.register(ctx, intent)
	if err != nil {
		return contracts.EnrollReply{}, err
	}
	if device.Revoked {
		return s.deny(ctx, intent.Device, "Revoked", revoked), nil
	}
	minted, err := s.mint(ctx, intent, known)
	if errors.Is(err, domain.ErrPermissionDenied) {
		// It was restored while nobody could tell the provider: the registry counts.
		if err = s.caps.Minter.Restore(ctx, intent.Device); err == nil {
			minted, err = s.mint(ctx, intent, known)
		}
	}
	switch {
	case errors.Is(err, domain.ErrInvalid):
		return s.deny(ctx, intent.Device, "KeyNotUsable", "the identity provider does not accept the device's key"), nil
	case err != nil:
		return contracts.EnrollReply{}, err
	}
	device, err = domain.UpdateDevice(ctx, s.caps.Devices, intent.Device, func(d *domain.FleetDevice) error {
		if d.Labels == nil && len(intent.Labels) > 0 {
			d.Labels = contracts.Labels{}
		}
		maps.Copy(d.Labels, intent.Labels)
		d.PublicKey = intent.PublicKey
		return nil
	})
	if err != nil {
		return contracts.EnrollReply{}, err
	}
	if device.Revoked { // meanwhile: what the provider was told of it may be undone
		return s.deny(ctx, intent.Device, "Revoked", revoked), s.caps.Minter.Revoke(ctx, intent.Device)
	}
	intent.State, intent.Reason, intent.BusyUntil = contracts.EnrollmentDone, "", time.Time{}
	intent.UserID, intent.KeyID, intent.KeyExpiresAt = minted.UserID, minted.KeyID, minted.ExpiresAt
	if intent, err = s.caps.Intents.Update(ctx, intent); err != nil {
		return contracts.EnrollReply{}, err
	}
	message := "its first key"
	if known {
		message = "its key replaces all earlier ones"
	}
	s.emit(ctx, contracts.EventDeviceEnrolled, intent.Device, "", message)
	return s.done(intent), nil
}

const revoked = "the device is revoked: restore it with `fleet device restore` and make a new token"

// register returns the device's record, made when there is none, and whether it
// was known before: then earlier keys may be about, and have to die.
func (s *Service) register(ctx context.Context, intent domain.EnrollmentIntent) (domain.FleetDevice, bool, error) {
	device, err := s.caps.Devices.Create(ctx, domain.FleetDevice{
		ID: intent.Device, Labels: intent.Labels, RegisteredAt: time.Now().UTC(),
	})
	if !errors.Is(err, domain.ErrAlreadyExists) {
		return device, false, err
	}
	device, err = s.caps.Devices.Get(ctx, intent.Device)
	if errors.Is(err, domain.ErrNotFound) {
		return device, true, domain.WrapError(domain.ErrConflict, err, "device %q was removed meanwhile", intent.Device)
	}
	return device, true, err
}

func (s *Service) mint(ctx context.Context, intent domain.EnrollmentIntent, known bool) (domain.DeviceCredential, error) {
	expires := time.Now().Add(s.options.KeyLifetime).UTC().Truncate(time.Second)
	minted, err := s.caps.Minter.Enroll(ctx, intent.Device, intent.PublicKey, expires)
	if err != nil || !known {
		return minted, err
	}
	return s.caps.Minter.Rotate(ctx, intent.Device, intent.PublicKey, expires)
}

// again answers a device that has its credential already: an answer was lost.
func (s *Service) again(ctx context.Context, intent domain.EnrollmentIntent) (contracts.EnrollReply, error) {
	device, err := s.caps.Devices.Get(ctx, intent.Device)
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return s.deny(ctx, intent.Device, "Removed", "the device was removed from the fleet: ask for a new token"), nil
	case err != nil:
		return contracts.EnrollReply{}, err
	case device.Revoked:
		return s.deny(ctx, intent.Device, "Revoked", revoked), nil
	case device.PublicKey != intent.PublicKey:
		return s.deny(ctx, intent.Device, "TokenUsed", "the device has another key by now: ask for a new token"), nil
	}
	return s.done(intent), nil
}

func (s *Service) done(intent domain.EnrollmentIntent) contracts.EnrollReply {
	keys := make([]string, len(s.fleet.SigningKeys))
	for i, key := range s.fleet.SigningKeys {
		keys[i] = contracts.FormatPublicKey(key)
	}
	return contracts.EnrollReply{State: contracts.EnrollmentDone, Credential: &contracts.DeviceCredential{
		Issuer:       s.fleet.Issuer,
		ProjectID:    s.fleet.ProjectID,
		UserID:       intent.UserID,
		KeyID:        intent.KeyID,
		Servers:      s.fleet.Servers,
		ServerCA:     s.fleet.ServerCA,
		SigningKeys:  keys,
		KeyExpiresAt: intent.KeyExpiresAt,
	}}
}
