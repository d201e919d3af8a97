package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DenialReason is why a client was kept out, in one word.
type DenialReason string

// The reasons of a denial.
const (
	// DeniedNoToken: the client showed no token.
	DeniedNoToken DenialReason = "NoToken"
	// DeniedBadToken: the token is malformed, forged, expired or from elsewhere.
	DeniedBadToken DenialReason = "BadToken"
	// DeniedNoRole: the token gives no role in this fleet.
	DeniedNoRole DenialReason = "NoRole"
	// DeniedUnknownDevice: the device is not in the registry.
	DeniedUnknownDevice DenialReason = "UnknownDevice"
	// DeniedRevoked: the device is revoked.
	DeniedRevoked DenialReason = "Revoked"
	// DeniedTooOften: the device connects more often than an honest one would.
	DeniedTooOften DenialReason = "TooOften"
	// DeniedUndecided: who the client is could not be found out now.
	DeniedUndecided DenialReason = "Undecided"
)

// DenialReasons returns the closed list of reasons.
func DenialReasons() []DenialReason {
	return []DenialReason{
		DeniedNoToken, DeniedBadToken, DeniedNoRole, DeniedUnknownDevice, DeniedRevoked, DeniedTooOften, DeniedUndecided,
	}
}

// denial says why a client is kept out. It never holds the token.
type denial struct {
	reason DenialReason
	// device and subject are set when the token was good.
	device  contracts.DeviceID
	subject string
	message string
}

func (d *denial) Error() string { return fmt.Sprintf("%s: %s", d.reason, d.message) }

// admission is who a client becomes.
type admission struct {
	role domain.Role
	// name is what the broker's operators see, and how connections are found.
	name        string
	account     string
	permissions Permissions
	expires     time.Time
}

const (
	devicePrefix = "device/"
	enrollPrefix = string(domain.RoleEnroll) + "/"
)

// limited reports whether a user is one whose connections are bounded: of a
// device, or of the holder of its enrollment token.
func limited(user string) bool {
	return strings.HasPrefix(user, devicePrefix) || strings.HasPrefix(user, enrollPrefix)
}

// deviceUser is the name of a device's user at the broker.
func deviceUser(device contracts.DeviceID) string { return devicePrefix + string(device) }

// userDevice is the inverse of deviceUser; false for other users.
func userDevice(user string) (contracts.DeviceID, bool) {
	device, ok := strings.CutPrefix(user, devicePrefix)
	return contracts.DeviceID(device), ok
}

// decide finds out who a client is and whether it may connect.
func (c *Callout) decide(ctx context.Context, request calloutRequest) (admission, *denial) {
	admitted, denied := c.admission(ctx, request)
	if denied != nil {
		c.denials.note(*denied, request.host, time.Now())
	}
	return admitted, denied
}

func (c *Callout) admission(ctx context.Context, request calloutRequest) (admission, *denial) {
	if request.token == "" {
		return admission{}, &denial{reason: DeniedNoToken, message: "the client showed no token: give it a credential of this fleet"}
	}
	principal, err := c.verifier.Verify(ctx, request.token)
	switch {
	case errors.Is(err, domain.ErrUnauthenticated), errors.Is(err, domain.ErrInvalid):
		return admission{}, &denial{reason: DeniedBadToken, message: "the token is not accepted: " + err.Error()}
	case err != nil:
		return admission{}, &denial{reason: DeniedUndecided, message: "the token could not be verified now: " + err.Error()}
	case !principal.ExpiresAt.After(time.Now()):
		return admission{}, &denial{reason: DeniedBadToken, subject: principal.Subject, message: "the token has expired"}
	}
	admitted, denied := admissionOf(principal, request.token, c.accounts)
	if denied == nil && admitted.role == domain.RoleDevice {
		denied = c.checkDevice(ctx, principal.Device)
	}
	if denied == nil && limited(admitted.name) && !c.limit.allows(admitted.name, time.Now()) {
		denied = &denial{reason: DeniedTooOften, message: fmt.Sprintf("device %q connected more than %d times within a minute: is its credential used on several machines?", principal.Device, admissionsPerMinute)}
	}
	if denied != nil {
		denied.subject, denied.device = principal.Subject, principal.Device
		return admission{}, denied
	}
	return admitted, nil
}

// admissionOf gives a principal the rights of its role. A device is never more
// than a device, whatever roles it holds besides.
func admissionOf(principal domain.Principal, token string, accounts Accounts) (admission, *denial) {
	has := func(role domain.Role) bool { return slices.Contains(principal.Roles, role) }
	admitted := admission{account: accounts.Fleet, expires: principal.ExpiresAt}
	switch {
	case principal.Device != "" && has(domain.RoleDevice):
		if principal.Device.Validate() != nil {
			return admission{}, &denial{reason: DeniedNoRole, message: "the name of the device is not valid"}
		}
		admitted.role, admitted.permissions = domain.RoleDevice, DevicePermissions(principal.Device)
		admitted.name = deviceUser(principal.Device)
	case has(domain.RoleEnroll):
		admitted.role, admitted.permissions = domain.RoleEnroll, EnrollPermissions(token)
	case principal.Device == "" && has(domain.RoleOperator):
		admitted.role, admitted.permissions = domain.RoleOperator, OperatorPermissions()
	case principal.Device == "" && has(domain.RoleViewer):
		admitted.role, admitted.permissions, admitted.account = domain.RoleViewer, ViewerPermissions(), accounts.View
	default:
		return admission{}, &denial{reason: DeniedNoRole, message: "the token is good, and gives no role in this fleet: grant its owner one at the identity provider"}
	}
	if admitted.name == "" {
		admitted.name = string(admitted.role) + "/" + principal.Subject
	}
	return admitted, nil
}

// checkDevice asks the list, and the registry about a device that the list does
// not have: it may have been registered a moment ago.
func (c *Callout) checkDevice(ctx context.Context, device contracts.DeviceID) *denial {
	revoked, known := c.access.state(device)
	if !known {
		record, err := c.registry.Get(ctx, device)
		switch {
		case errors.Is(err, domain.ErrNotFound):
			return &denial{reason: DeniedUnknownDevice, message: fmt.Sprintf("device %q is not in the registry: enroll it", device)}
		case err != nil:
			return &denial{reason: DeniedUndecided, message: "the registry could not be asked: " + err.Error()}
		}
		revoked = record.Revoked
	}
	if revoked {
		return &denial{reason: DeniedRevoked, message: fmt.Sprintf("device %q is revoked: `fleet device restore %s` lifts it", device, device)}
	}
	return nil
}
