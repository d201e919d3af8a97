package enrollment

import (
	"context"
	"crypto/ed25519"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// MaxTokenLifetime bounds how long an enrollment token can be of use.
const MaxTokenLifetime = 30 * 24 * time.Hour

// Issuer signs enrollment tokens with the fleet's key.
type Issuer struct{ key ed25519.PrivateKey }

var _ domain.EnrollmentTokenIssuer = (*Issuer)(nil)

// NewIssuer returns an issuer over the fleet's signing key.
func NewIssuer(key ed25519.PrivateKey) *Issuer { return &Issuer{key: key} }

// IssueToken implements domain.EnrollmentTokenIssuer.
func (i *Issuer) IssueToken(_ context.Context, device contracts.DeviceID, expires time.Time) (string, error) {
	lifetime := time.Until(expires)
	if lifetime <= 0 || lifetime > MaxTokenLifetime+time.Minute {
		return "", domain.Errorf(domain.ErrInvalid, "a token must expire in the future and within %s: check the time to live, and the clocks of both sides", MaxTokenLifetime)
	}
	token, err := contracts.NewEnrollmentToken(device, expires).Sign(i.key)
	return token, domain.WrapError(domain.ErrInvalid, err, "token for device %q", device)
}
