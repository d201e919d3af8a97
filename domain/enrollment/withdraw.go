package enrollment

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// withdraw takes back what an enrollment made that was denied in the meantime: the
// key dies at the provider, and the registry forgets it. An identity without keys
// stays, deactivated; whoever is approved later gets it again. Until it succeeds
// the intent remains marked as worked on, and the device's next question has it
// tried again.
func (s *Service) withdraw(ctx context.Context, intent domain.EnrollmentIntent) {
	err := s.takeBack(ctx, intent)
	if err != nil && !errors.Is(err, domain.ErrConflict) {
		s.log.Warn("the key of a denied enrollment is still at the identity provider; it is removed when the device asks again, or by `fleet device revoke`",
			slog.String("device", string(intent.Device)), slog.String("error", err.Error()))
	}
}

func (s *Service) takeBack(ctx context.Context, intent domain.EnrollmentIntent) error {
	err := s.caps.Minter.Revoke(ctx, intent.Device)
	if err != nil && !errors.Is(err, domain.ErrNotFound) {
		return err
	}
	_, err = domain.UpdateDevice(ctx, s.caps.Devices, intent.Device, func(d *domain.FleetDevice) error {
		if d.PublicKey == intent.PublicKey {
			d.PublicKey = ""
		}
		return nil
	})
	if err != nil && !errors.Is(err, domain.ErrNotFound) {
		return err
	}
	_, err = domain.UpdateEnrollment(ctx, s.caps.Intents, intent.Device, func(stored *domain.EnrollmentIntent) error {
		if !stored.BusyUntil.Equal(intent.BusyUntil) {
			return domain.Errorf(domain.ErrConflict, "somebody works on the enrollment of device %q again", intent.Device)
		}
		stored.BusyUntil = time.Time{}
		return nil
	})
	return err
}

// denied answers a device that a person refused. A request that was making its
// identity at that moment may have ended without taking it back.
func (s *Service) denied(ctx context.Context, intent domain.EnrollmentIntent) contracts.EnrollReply {
	if !intent.BusyUntil.IsZero() && !time.Now().Before(intent.BusyUntil) {
		s.withdraw(ctx, intent)
	}
	return contracts.EnrollReply{State: contracts.EnrollmentDenied, Reason: intent.Reason}
}
