package enrollment

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// subjectPrefix begins the subject of a device that has no identity yet. No
// identity provider's subject begins so.
const subjectPrefix = "enroll:"

// Verifier is the domain.TokenVerifier of enrollment tokens. It needs nobody:
// whether the token was used or withdrawn is for the Service to say.
type Verifier struct{ trusted []ed25519.PublicKey }

var _ domain.TokenVerifier = (*Verifier)(nil)

// NewVerifier returns a verifier that accepts tokens signed by the fleet's keys.
func NewVerifier(trusted []ed25519.PublicKey) *Verifier { return &Verifier{trusted: trusted} }

// Verify implements domain.TokenVerifier. Its principals have RoleEnroll alone.
func (v *Verifier) Verify(_ context.Context, text string) (domain.Principal, error) {
	token, err := authentic(text, v.trusted)
	if err == nil {
		err = expired(token, time.Now())
	}
	if err != nil {
		return domain.Principal{}, err
	}
	return domain.Principal{
		Subject:   subjectPrefix + string(token.Device),
		Device:    token.Device,
		Roles:     []domain.Role{domain.RoleEnroll},
		ExpiresAt: token.ExpiresAt,
	}, nil
}

// authentic returns a token that one of the trusted keys signed, expired or not.
func authentic(text string, trusted []ed25519.PublicKey) (contracts.EnrollmentToken, error) {
	token, err := contracts.ParseEnrollmentToken(text)
	if errors.Is(err, contracts.ErrBadSignature) {
		return contracts.EnrollmentToken{}, domain.WrapError(domain.ErrUnauthenticated, err, "the enrollment token is forged or damaged")
	}
	if err != nil {
		return contracts.EnrollmentToken{}, domain.WrapError(domain.ErrUnauthenticated, err, "this is not an enrollment token")
	}
	for _, key := range trusted {
		if contracts.FormatPublicKey(key) == token.SigningKey {
			return token, nil
		}
	}
	return contracts.EnrollmentToken{}, domain.WrapError(domain.ErrUnauthenticated, contracts.ErrUnknownKey, "the enrollment token is not one of this fleet")
}

func expired(token contracts.EnrollmentToken, now time.Time) error {
	if now.Before(token.ExpiresAt) {
		return nil
	}
	return domain.Errorf(domain.ErrUnauthenticated, "the enrollment token of device %q expired at %s: ask for a new one", token.Device, token.ExpiresAt.Format(time.RFC3339))
}

// Router is a domain.TokenVerifier that sends each token to the verifier of its
// form.
type Router struct{ bootstrap, provider domain.TokenVerifier }

var _ domain.TokenVerifier = (*Router)(nil)

// NewRouter returns a verifier that gives enrollment tokens to bootstrap and all
// others to provider.
func NewRouter(bootstrap, provider domain.TokenVerifier) *Router {
	return &Router{bootstrap: bootstrap, provider: provider}
}

// Verify implements domain.TokenVerifier.
func (r *Router) Verify(ctx context.Context, token string) (domain.Principal, error) {
	if contracts.IsEnrollmentToken(token) {
		return r.bootstrap.Verify(ctx, token)
	}
	return r.provider.Verify(ctx, token)
}
