package zitadel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"

	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Enroll implements domain.DeviceCredentialMinter. ErrConflict when the user of
// that ID belongs to something else than this fleet.
func (p *ZitadelIdentityProvider) Enroll(ctx context.Context, device contracts.DeviceID, publicKey string, expires time.Time) (domain.DeviceCredential, error) {
	if err := checkKey(device, publicKey, expires); err != nil {
		return domain.DeviceCredential{}, err
	}
	made, err := p.ensureUser(ctx, device)
	if err != nil {
		return domain.DeviceCredential{}, err
	}
	if err := p.grantRole(ctx, device); err != nil {
		return domain.DeviceCredential{}, err
	}
	key, err := p.addKey(ctx, device, publicKey, expires)
	if err != nil {
		return domain.DeviceCredential{}, err
	}
	if !made {
		p.trimKeys(ctx, device, key)
	}
	return p.credential(device, key, expires), nil
}

// Rotate implements domain.DeviceCredentialMinter. Of keys that are registered at
// the same time, the last one stays.
func (p *ZitadelIdentityProvider) Rotate(ctx context.Context, device contracts.DeviceID, publicKey string, expires time.Time) (domain.DeviceCredential, error) {
	if err := checkKey(device, publicKey, expires); err != nil {
		return domain.DeviceCredential{}, err
	}
	if err := p.requireActive(ctx, device); err != nil {
		return domain.DeviceCredential{}, err
	}
	key, err := p.addKey(ctx, device, publicKey, expires)
	if err != nil {
		return domain.DeviceCredential{}, err
	}
	if err := p.removeOlderKeys(ctx, device, key); err != nil {
		return domain.DeviceCredential{}, err
	}
	// Whoever had an old key may have made these with it.
	if _, err := p.removeAccessTokens(ctx, device); err != nil {
		return domain.DeviceCredential{}, err
	}
	if err := p.removeSecret(ctx, device); err != nil {
		return domain.DeviceCredential{}, err
	}
	return p.credential(device, key, expires), nil
}

// Revoke implements domain.DeviceCredentialMinter: from now on the device gets no
// tokens. One that it has is valid until it expires, for those who do not ask
// Zitadel: the registry's flag is what the broker looks at.
func (p *ZitadelIdentityProvider) Revoke(ctx context.Context, device contracts.DeviceID) error {
	state, err := p.userState(ctx, device)
	if err != nil || state == userapi.UserState_USER_STATE_INACTIVE {
		return err
	}
	_, err = call(ctx, p.api, p.api.client.UserServiceV2().DeactivateUser, &userapi.DeactivateUserRequest{UserId: p.userID(device)})
	return ignore(translate(err, "deactivate the user of device %q", device), domain.ErrConflict) // somebody was faster
}

// Restore implements domain.DeviceCredentialMinter. All that the device, or whoever
// stole it, could prove itself with is removed first. ErrNotFound when the device
// has no identity.
func (p *ZitadelIdentityProvider) Restore(ctx context.Context, device contracts.DeviceID) error {
	state, err := p.userState(ctx, device)
	if err != nil || state == userapi.UserState_USER_STATE_ACTIVE {
		return err
	}
	if state != userapi.UserState_USER_STATE_INACTIVE {
		return domain.Errorf(domain.ErrConflict, "the user of device %q is neither active nor deactivated, but %s: put it right at the identity provider", device, state)
	}
	if err := p.removeCredentials(ctx, device); err != nil {
		return err
	}
	_, err = call(ctx, p.api, p.api.client.UserServiceV2().ReactivateUser, &userapi.ReactivateUserRequest{UserId: p.userID(device)})
	return ignore(translate(err, "reactivate the user of device %q", device), domain.ErrConflict) // somebody was faster
}

// checkKey refuses keys that Zitadel would store, and then take no assertion of.
func checkKey(device contracts.DeviceID, publicKey string, expires time.Time) error {
	if err := device.Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "device %q", device)
	}
	if !time.Now().Before(expires) {
		return domain.Errorf(domain.ErrInvalid, "the key of device %q would expire at %s, which is past", device, expires.UTC().Format(time.RFC3339))
	}
	block, rest := pem.Decode([]byte(publicKey))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
		return domain.Errorf(domain.ErrInvalid, "the public key of device %q is not one PEM block of the type PUBLIC KEY", device)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "the public key of device %q", device)
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PublicKey:
		if key.N.BitLen() >= 2048 {
			return nil
		}
	}
	return domain.Errorf(domain.ErrInvalid, "the public key of device %q is neither ECDSA P-256 nor RSA of 2048 bits or more: Zitadel takes no assertions of others", device)
}

func (p *ZitadelIdentityProvider) userID(device contracts.DeviceID) string {
	return p.config.DevicePrefix.UserID(device)
}

func (p *ZitadelIdentityProvider) credential(device contracts.DeviceID, key registeredKey, expires time.Time) domain.DeviceCredential {
	return domain.DeviceCredential{Device: device, UserID: p.userID(device), KeyID: key.id, ExpiresAt: expires}
}

// userState returns the state of a device's user: ErrNotFound when there is none.
func (p *ZitadelIdentityProvider) userState(ctx context.Context, device contracts.DeviceID) (userapi.UserState, error) {
	if err := device.Validate(); err != nil {
		return 0, domain.WrapError(domain.ErrInvalid, err, "device %q", device)
	}
	response, err := call(ctx, p.api, p.api.client.UserServiceV2().GetUserByID, &userapi.GetUserByIDRequest{UserId: p.userID(device)})
	if err != nil {
		return 0, translate(err, "the identity of device %q", device)
	}
	return response.GetUser().GetState(), nil
}

func (p *ZitadelIdentityProvider) requireActive(ctx context.Context, device contracts.DeviceID) error {
	state, err := p.userState(ctx, device)
	if err != nil {
		return err
	}
	if state != userapi.UserState_USER_STATE_ACTIVE {
		return domain.Errorf(domain.ErrPermissionDenied, "device %q is revoked: restore it first", device)
	}
	return nil
}

// isNotFound reports whether there is no such thing.
func isNotFound(err error) bool { return errors.Is(err, domain.ErrNotFound) }
