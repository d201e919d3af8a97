package device

import (
	"errors"
	"net/http"

	"github.com/nationtech/harmony-fleet/domain"
)

// Codes of the token endpoint.
const (
	codeInvalidGrant   = "invalid_grant"
	codeInvalidRequest = "invalid_request"
)

// errNoRole is a token that does not carry a role of the project.
var errNoRole = errors.New("the token carries no role of the project")

// isLag reports whether an error is one of those that an exchange gives for a
// moment after the user, its key or its role was made.
func isLag(err error) bool {
	if errors.Is(err, errNoRole) {
		return true
	}
	refused, ok := errors.AsType[*refusal](err)
	return ok && (refused.code == codeInvalidGrant || refused.status == http.StatusNotFound)
}

// translate is the one place where answers of the token endpoint become kinds of
// the domain. An error that is not such an answer has its kind already.
func (s *TokenSource) translate(err error) error {
	if errors.Is(err, errNoRole) {
		return domain.WrapError(domain.ErrPermissionDenied, err, "user %q has no role in project %q of %s: grant it one", s.config.UserID, s.config.ProjectID, s.config.Issuer)
	}
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		return err
	}
	switch {
	case refused.code == codeInvalidGrant:
		return domain.WrapError(domain.ErrUnauthenticated, err, "%s does not accept key %q of user %q: the key is unknown, removed or expired, or the user is gone: enroll this device again",
			s.config.Issuer, s.config.KeyID, s.config.UserID)
	case refused.code == codeInvalidRequest && refused.status == http.StatusBadRequest:
		return domain.WrapError(domain.ErrPermissionDenied, err, "%s refuses user %q, as it does when the device is revoked: have it restored, then enroll it again", s.config.Issuer, s.config.UserID)
	case refused.status == http.StatusNotFound:
		return domain.WrapError(domain.ErrUnauthenticated, err, "%s knows no user %q, or is not the identity provider's own name: check the issuer, or enroll this device again", s.config.Issuer, s.config.UserID)
	default:
		return domain.WrapError(domain.ErrUnavailable, err, "the identity provider %s gave no token", s.config.Issuer)
	}
}
