package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
)

// warnKeyBefore is how long before its end a key that was not renewed is worth
// a warning: the fleet renews keys a month before.
const warnKeyBefore = 14 * 24 * time.Hour

// checkIdentity checks the key of an enrolled device and for how long it is good.
func checkIdentity(c config.Config, now time.Time) Check {
	const name, anew = "identity", "get a token with `fleet enroll create --replace` and run `fleet-agent enroll`"
	_, err := c.Identities().Key(*c.Identity)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fail(name, err.Error(), runAsAgent)
	case errors.Is(err, fs.ErrNotExist):
		return fail(name, "its key is gone: "+err.Error(), anew)
	case err != nil:
		return fail(name, err.Error(), anew)
	}
	credential := c.Identity.Credential
	known := fmt.Sprintf("%s at %s, key %s", credential.UserID, credential.Issuer, credential.KeyID)
	expires := credential.KeyExpiresAt
	until := expires.UTC().Format(time.RFC3339)
	switch {
	case expires.IsZero():
		return ok(name, "%s", known)
	case !now.Before(expires):
		return fail(name, known+" expired at "+until, anew)
	case expires.Sub(now) < warnKeyBefore:
		return warn(name, known+" expires at "+until, "have it renewed: `fleet device rotate "+string(c.Device)+"`")
	}
	return ok(name, "%s until %s", known, until)
}
