package verifier

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// earlyTolerance is how far in the future a token may start: clocks differ.
const earlyTolerance = 5 * time.Minute

// principal reads the claims of a token whose signature is right.
func (v *Verifier) principal(payload []byte, now time.Time) (domain.Principal, error) {
	refuse := func(format string, args ...any) (domain.Principal, error) {
		return domain.Principal{}, domain.Errorf(domain.ErrUnauthenticated, format, args...)
	}
	// A map, because the fields of a struct would match in any letter case.
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		return refuse("the token's claims are malformed")
	}
	if issuer, _ := claim[string](claims, "iss"); issuer != v.issuer {
		return refuse("the token is of another issuer than %s", v.issuer)
	}
	// An ID token has none. It is for the application that asked for it.
	if id, _ := claim[string](claims, "jti"); id == "" {
		return refuse("the token is no access token")
	}
	subject, _ := claim[string](claims, "sub")
	if subject == "" {
		return refuse("the token has no subject")
	}
	seconds, ok := claim[int64](claims, "exp")
	expires := time.Unix(seconds, 0)
	if !ok || !now.Before(expires) {
		return refuse("the token of %q has expired: get a new one", subject)
	}
	if seconds, ok := claim[int64](claims, "nbf"); ok && time.Unix(seconds, 0).After(now.Add(earlyTolerance)) {
		return refuse("the token of %q is not valid yet: the clock here is behind the identity provider's", subject)
	}
	device, isDevice := v.prefix.Device(subject)
	roles := v.grantedRoles(claims, isDevice)
	if len(roles) == 0 {
		return refuse("the token of %q carries no role for this fleet: grant one in the fleet's project, and ask for tokens with the scopes of the project and its roles", subject)
	}
	return domain.Principal{Subject: subject, Device: device, Roles: roles, ExpiresAt: expires}, nil
}

// grantedRoles are the roles in the fleet's project. A device is a device and
// nothing else, and nobody else is one: a role granted by mistake gives nothing.
func (v *Verifier) grantedRoles(claims map[string]json.RawMessage, isDevice bool) []domain.Role {
	granted, _ := claim[map[string]map[string]json.RawMessage](claims, v.roles)
	possible := []domain.Role{domain.RoleOperator, domain.RoleViewer}
	if isDevice {
		possible = []domain.Role{domain.RoleDevice}
	}
	return slices.DeleteFunc(possible, func(role domain.Role) bool { return len(granted[string(role)]) == 0 })
}

// claim returns false when the claim is missing or of another type.
func claim[T any](claims map[string]json.RawMessage, name string) (T, bool) {
	var value, zero T
	raw, ok := claims[name]
	if !ok || string(raw) == "null" || json.Unmarshal(raw, &value) != nil {
		return zero, false
	}
	return value, true
}
