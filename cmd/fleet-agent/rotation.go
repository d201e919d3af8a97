package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/access"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/enroll"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/identity"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/inventory"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// rotation replaces the device's key when the fleet asks for it: the device
// enrolls anew, while everything goes on with the old key.
type rotation struct {
	config  config.Config
	store   *identity.Store
	access  *access.Access
	trusted []ed25519.PublicKey
	log     *slog.Logger
	asked   chan struct{}
}

func newRotation(c config.Config, in *access.Access, trusted []ed25519.PublicKey, log *slog.Logger) *rotation {
	return &rotation{config: c, store: c.Identities(), access: in, trusted: trusted, log: log, asked: make(chan struct{}, 1)}
}

// accept takes on a token that one of the fleet's pinned keys signed for this
// device: a broker that is taken over cannot make one.
func (r *rotation) accept(_ context.Context, text string) error {
	token, err := contracts.ParseEnrollmentToken(text)
	if err != nil {
		return domain.Errorf(domain.ErrInvalid, "this is not an enrollment token")
	}
	if !r.trusts(token.SigningKey) {
		return domain.WrapError(domain.ErrPermissionDenied, contracts.ErrUnknownKey, "the token for a new key")
	}
	if token.Device != r.config.Device {
		return domain.Errorf(domain.ErrPermissionDenied, "the token is that of device %q", token.Device)
	}
	if !time.Now().Before(token.ExpiresAt) {
		return domain.Errorf(domain.ErrInvalid, "the token expired at %s", token.ExpiresAt.Format(time.RFC3339))
	}
	if err := r.store.KeepToken(text); err != nil {
		return err
	}
	select {
	case r.asked <- struct{}{}:
	default:
	}
	return nil
}

func (r *rotation) trusts(key string) bool {
	for _, trusted := range r.trusted {
		if contracts.FormatPublicKey(trusted) == key {
			return true
		}
	}
	return false
}

// run enrolls whenever there is a token, also one that a restart interrupted.
func (r *rotation) run(ctx context.Context) error {
	for ctx.Err() == nil {
		attempt, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := r.enroll(attempt); err != nil && attempt.Err() == nil {
				r.log.Warn("the device's key was not replaced; the old one is used on", slog.String("error", err.Error()))
			}
		}()
		select {
		case <-ctx.Done():
		case <-r.asked: // a newer token, which made the one before invalid
		}
		stop()
		<-ended
	}
	return nil
}

func (r *rotation) enroll(ctx context.Context) error {
	token, err := r.store.KeptToken()
	if err != nil || token == "" {
		return err
	}
	r.log.Info("replacing the device's key, as its fleet asks")
	request := enroll.Request{
		Token: token, ServerCA: r.access.Who().Credential.ServerCA, Inventory: inventory.Read(r.config.StateDir, nil),
	}
	say := func(text string) { r.log.Info("enrollment", slog.String("said", text)) }
	who, err := enroll.Run(ctx, r.store, enroller(r.config.Broker, token), request, say)
	if err != nil {
		if ctx.Err() == nil { // it expired: the fleet makes another
			return errors.Join(err, r.store.KeepToken(""))
		}
		return err
	}
	if err := r.access.Use(who); err != nil {
		return err
	}
	r.log.Info("the device's key was replaced", slog.String("key", who.Credential.KeyID), slog.Time("expires", who.Credential.KeyExpiresAt))
	return nil
}
