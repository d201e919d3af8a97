package memory

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// tokenLifetime is how long a token is valid.
	tokenLifetime = time.Hour
	// tokenReserve is how long a cached token is valid at least.
	tokenReserve = 5 * time.Minute
)

// Identity is an identity provider and a verifier of its tokens.
type Identity struct {
	mu          sync.Mutex
	unreachable bool
	// keysKnown says that the verifier has reached the provider once.
	keysKnown bool
	users     map[contracts.DeviceID]*identityUser
	tokens    map[string]domain.Principal
	operator  domain.Token
}

var (
	_ domain.IdentityProvider = (*Identity)(nil)
	_ domain.TokenVerifier    = (*Identity)(nil)
)

// identityUser is a device at the provider.
type identityUser struct {
	revoked bool
	// keys are the registered keys by key ID, with the time they expire.
	keys map[string]time.Time
}

// NewIdentity returns a provider that knows nobody.
func NewIdentity() *Identity {
	return &Identity{users: map[contracts.DeviceID]*identityUser{}, tokens: map[string]domain.Principal{}}
}

// SetReachable takes the provider away and brings it back. Tokens are verified
// without it once it has been reached.
func (i *Identity) SetReachable(reachable bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unreachable = !reachable
}

// Enroll implements domain.DeviceCredentialMinter.
func (i *Identity) Enroll(ctx context.Context, device contracts.DeviceID, publicKey string, expires time.Time) (domain.DeviceCredential, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key, err := i.check(ctx, device, publicKey)
	if err != nil {
		return domain.DeviceCredential{}, err
	}
	user, ok := i.users[device]
	if !ok {
		user = &identityUser{keys: map[string]time.Time{}}
		i.users[device] = user
	}
	if user.revoked {
		return domain.DeviceCredential{}, domain.Errorf(domain.ErrPermissionDenied, "device %q is revoked: restore it first", device)
	}
	user.keys[key] = expires
	return credential(device, key, expires), nil
}

// Rotate implements domain.DeviceCredentialMinter.
func (i *Identity) Rotate(ctx context.Context, device contracts.DeviceID, publicKey string, expires time.Time) (domain.DeviceCredential, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key, err := i.check(ctx, device, publicKey)
	if err != nil {
		return domain.DeviceCredential{}, err
	}
	user, ok := i.users[device]
	switch {
	case !ok:
		return domain.DeviceCredential{}, notFound("identity of device", device)
	case user.revoked:
		return domain.DeviceCredential{}, domain.Errorf(domain.ErrPermissionDenied, "device %q is revoked: restore it first", device)
	}
	user.keys = map[string]time.Time{key: expires}
	return credential(device, key, expires), nil
}

// Revoke implements domain.DeviceCredentialMinter.
func (i *Identity) Revoke(ctx context.Context, device contracts.DeviceID) error {
	return i.setRevoked(ctx, device, true)
}

// Restore implements domain.DeviceCredentialMinter. ErrNotFound when the device
// has no identity.
func (i *Identity) Restore(ctx context.Context, device contracts.DeviceID) error {
	return i.setRevoked(ctx, device, false)
}

func (i *Identity) setRevoked(ctx context.Context, device contracts.DeviceID, revoked bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.reach(ctx); err != nil {
		return err
	}
	user, ok := i.users[device]
	if !ok {
		return notFound("identity of device", device)
	}
	if revoked {
		clear(user.keys)
	}
	user.revoked = revoked
	return nil
}

// Token implements domain.OperatorTokenProvider. A token is valid for an hour,
// and a cached one for five minutes at least.
func (i *Identity) Token(ctx context.Context) (domain.Token, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if time.Until(i.operator.ExpiresAt) > tokenReserve {
		return i.operator, nil
	}
	if err := i.reach(ctx); err != nil {
		return domain.Token{}, err
	}
	i.operator = i.issue(domain.Principal{Subject: "operator", Roles: []domain.Role{domain.RoleOperator}}, tokenLifetime)
	return i.operator, nil
}

// DeviceToken returns a token as the device gets one that holds the private half
// of the key: ErrUnauthenticated when the key is not registered or has expired.
func (i *Identity) DeviceToken(ctx context.Context, device contracts.DeviceID, publicKey crypto.PublicKey) (domain.Token, error) {
	der, err := x509.MarshalPKIXPublicKey(publicKey)
	if err != nil {
		return domain.Token{}, domain.WrapError(domain.ErrInvalid, err, "the public key of device %q", device)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.reach(ctx); err != nil {
		return domain.Token{}, err
	}
	user, ok := i.users[device]
	if !ok || user.revoked || !time.Now().Before(user.keys[keyID(der)]) {
		return domain.Token{}, domain.Errorf(domain.ErrUnauthenticated, "device %q has no such key at the provider", device)
	}
	return i.issue(domain.Principal{Subject: userID(device), Device: device, Roles: []domain.Role{domain.RoleDevice}}, tokenLifetime), nil
}

// Issue returns a token for any principal, valid for the given time.
func (i *Identity) Issue(principal domain.Principal, lifetime time.Duration) domain.Token {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.issue(principal, lifetime)
}

// Verify implements domain.TokenVerifier.
func (i *Identity) Verify(ctx context.Context, token string) (domain.Principal, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.keysKnown {
		if err := i.reach(ctx); err != nil {
			return domain.Principal{}, err
		}
		i.keysKnown = true
	}
	principal, ok := i.tokens[token]
	if !ok {
		return domain.Principal{}, domain.Errorf(domain.ErrUnauthenticated, "the token is not one of this provider")
	}
	if !time.Now().Before(principal.ExpiresAt) {
		return domain.Principal{}, domain.Errorf(domain.ErrUnauthenticated, "the token has expired: get a new one")
	}
	principal.Roles = slices.Clone(principal.Roles)
	return principal, nil
}

// What follows is called under the lock.

func (i *Identity) reach(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "the identity provider was not asked")
	}
	if i.unreachable {
		return domain.Errorf(domain.ErrUnavailable, "the identity provider cannot be reached")
	}
	return nil
}

// check returns the ID of the key.
func (i *Identity) check(ctx context.Context, device contracts.DeviceID, publicKey string) (string, error) {
	if err := i.reach(ctx); err != nil {
		return "", err
	}
	if err := device.Validate(); err != nil {
		return "", domain.WrapError(domain.ErrInvalid, err, "device %q", device)
	}
	block, _ := pem.Decode([]byte(publicKey))
	if block == nil {
		return "", domain.Errorf(domain.ErrInvalid, "the public key of device %q is not PEM", device)
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		return "", domain.WrapError(domain.ErrInvalid, err, "the public key of device %q", device)
	}
	return keyID(block.Bytes), nil
}

// keyID names a public key in PKIX DER.
func keyID(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:8])
}

func (i *Identity) issue(principal domain.Principal, lifetime time.Duration) domain.Token {
	principal.ExpiresAt = time.Now().Add(lifetime)
	principal.Roles = slices.Clone(principal.Roles)
	token := domain.Token{Value: rand.Text(), ExpiresAt: principal.ExpiresAt}
	i.tokens[token.Value] = principal
	return token
}

func credential(device contracts.DeviceID, key string, expires time.Time) domain.DeviceCredential {
	return domain.DeviceCredential{Device: device, UserID: userID(device), KeyID: key, ExpiresAt: expires}
}

func userID(device contracts.DeviceID) string { return "fleet-" + string(device) }
