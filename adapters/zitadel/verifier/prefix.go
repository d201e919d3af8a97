package verifier

import (
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// maxPrefix leaves room for the device ID: Zitadel takes IDs of 200 bytes.
const maxPrefix = 100

// DevicePrefix is what the user IDs of a fleet's devices start with, such as
// "fleet-paris-". It is the one mapping between devices and the subjects of their
// tokens. Each fleet of a Zitadel instance has its own.
type DevicePrefix string

// Validate checks the prefix. No fleet's may be the start of another's: device IDs
// hold hyphens as well. It would not let a device into another fleet, whose project
// it has no role in, but the fleets would want the same user IDs.
func (p DevicePrefix) Validate() error {
	bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	if len(p) < 2 || len(p) > maxPrefix || !strings.HasSuffix(string(p), "-") || strings.ContainsFunc(string(p), bad) {
		return domain.Errorf(domain.ErrInvalid, `prefix %q of the fleet's user IDs is not like "fleet-paris-": lower-case letters, digits and hyphens, a hyphen last, %d bytes at most`, string(p), maxPrefix)
	}
	return nil
}

// UserID returns the user ID of a device.
func (p DevicePrefix) UserID(device contracts.DeviceID) string { return string(p) + string(device) }

// Device returns the device of a user ID: false when it is not one of the fleet's.
func (p DevicePrefix) Device(userID string) (contracts.DeviceID, bool) {
	rest, ok := strings.CutPrefix(userID, string(p))
	device := contracts.DeviceID(rest)
	if !ok || device.Validate() != nil {
		return "", false
	}
	return device, true
}

// OperatorID returns the user ID of the fleet's operator. It is no device's: an
// underscore is not part of a device ID.
func (p DevicePrefix) OperatorID() string { return string(p) + "_operator" }
