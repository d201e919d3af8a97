package domain

import (
	"context"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// DeviceCredential is what the identity provider knows about a device's key.
// It holds no secret: the private key never leaves the device.
type DeviceCredential struct {
	Device contracts.DeviceID
	// UserID is the device's identity at the provider, the "sub" of its tokens.
	UserID string
	// KeyID names the registered public key.
	KeyID     string
	ExpiresAt time.Time
}

// DeviceCredentialMinter gives devices an identity and takes it away. Every
// method is idempotent and safe for concurrent use.
type DeviceCredentialMinter interface {
	// Enroll makes the device's identity, if there is none, and registers its
	// public key (PKIX PEM) until expires. ErrInvalid when the key is not
	// usable, ErrPermissionDenied when the device is revoked.
	Enroll(ctx context.Context, device contracts.DeviceID, publicKey string, expires time.Time) (DeviceCredential, error)
	// Rotate registers a new key and removes all others: ErrNotFound when the
	// device has no identity.
	Rotate(ctx context.Context, device contracts.DeviceID, publicKey string, expires time.Time) (DeviceCredential, error)
	// Revoke makes every key of the device useless at once: ErrNotFound when it
	// has no identity.
	Revoke(ctx context.Context, device contracts.DeviceID) error
	// Restore lifts a revocation. The old keys stay dead: the device enrolls
	// again.
	Restore(ctx context.Context, device contracts.DeviceID) error
}

// Token is a bearer token. Its text never reaches a log.
type Token struct {
	Value     string
	ExpiresAt time.Time
}

// OperatorTokenProvider gives the operator its own tokens.
type OperatorTokenProvider interface {
	// Token returns a token that is valid for a while: a cached one, or a new
	// one from the provider.
	Token(ctx context.Context) (Token, error)
}

// IdentityProvider is both concerns of an identity provider.
type IdentityProvider interface {
	DeviceCredentialMinter
	OperatorTokenProvider
}

// Role is what a principal may do in a fleet.
type Role string

// The roles.
const (
	RoleDevice   Role = "device"
	RoleOperator Role = "operator"
	RoleViewer   Role = "viewer"
	// RoleEnroll is that of a device which has no identity yet: it may ask for
	// one and do nothing else.
	RoleEnroll Role = "enroll"
)

// Principal is who a verified token speaks for.
type Principal struct {
	// Subject is the identity at the provider.
	Subject string
	// Device is set when the subject is one of the fleet's devices.
	Device    contracts.DeviceID
	Roles     []Role
	ExpiresAt time.Time
}

// TokenVerifier checks tokens without asking the provider for each.
type TokenVerifier interface {
	// Verify returns who the token speaks for: ErrUnauthenticated when it is
	// malformed, forged, expired or from elsewhere, ErrUnavailable when the
	// provider's keys are not known yet and cannot be fetched.
	Verify(ctx context.Context, token string) (Principal, error)
}
