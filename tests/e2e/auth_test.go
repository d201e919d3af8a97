package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// TestLifeOfADevice is a device's whole life with an identity: it is invited,
// enrolls, runs a deployment, outlives a callout and the identity provider, is
// revoked, restored, and enrolls again.
func TestLifeOfADevice(t *testing.T) {
	t.Parallel()
	f := startAuthFleet(t)
	first := f.startCallout("first")
	f.startCallout("second")
	pi := f.device("pi-1")

	out, err := pi.enroll(pi.invite("token", "-l", "site=paris"))
	require.NoError(t, err, out)
	require.Contains(t, out, "device pi-1 is enrolled as fleet-e2e-pi-1")
	pi.startAgent()
	pi.awaitLink(true)
	require.Contains(t, pi.status(), "fleet-e2e-pi-1 at "+f.identity.Issuer())

	observer, err := fleettest.Observe(f.ctx, f.server, f.path("operator.nk"))
	require.NoError(t, err)
	t.Cleanup(observer.Close)
	f.mustFleet("apply", "-f", example("hello.yaml"))
	_, err = observer.AwaitRunning(f.ctx, "hello", 1, nil)
	require.NoError(t, err)

	// The fleet has the key replaced, and the link stays as it is.
	before := pi.keyID()
	f.mustFleet("device", "rotate", "pi-1")
	f.until("another key", func() (bool, string) { return pi.keyID() != before, pi.status() + pi.agent.Output() })
	require.Equal(t, 1, strings.Count(pi.agent.Output(), "connected to the broker"), pi.agent.Output())

	// One callout dies and the identity provider is away. Who has a token gets in.
	first.Kill()
	f.identity.Stop()
	pi.stopAgent()
	pi.startAgent()
	pi.awaitLink(true)
	require.NoError(t, f.identity.Restart(f.ctx))

	began := time.Now()
	f.mustFleet("device", "revoke", "pi-1", "--reason", "stolen")
	pi.awaitLink(false)
	t.Logf("out %s after the command began", time.Since(began).Round(time.Millisecond))
	pi.stopAgent()
	pi.startAgent() // with its token, which is valid for hours
	f.until("the device to be refused", func() (bool, string) {
		events, err := f.fleet("get", "events", "--kind", "AccessDenied", "-o", "json")
		return err == nil && containsAll(events, "pi-1", "Revoked"), events
	})
	pi.awaitLink(false)
	pi.stopAgent()

	f.mustFleet("device", "restore", "pi-1")
	token := pi.invite("again", "--replace")
	out, err = pi.enroll(token)
	require.NoError(t, err, out)
	pi.startAgent()
	pi.awaitLink(true)
	_, err = observer.AwaitRunning(f.ctx, "hello", 1, nil)
	require.NoError(t, err)

	events := f.mustFleet("get", "events", "pi-1", "-o", "json")
	require.True(t, containsAll(events, "DeviceEnrolled", "DeviceRevoked", "stolen", "DeviceRestored"), events)
	require.Equal(t, 1, strings.Count(events, "DeviceRevoked"), "one revocation is one event\n%s", events)
	require.Equal(t, 1, strings.Count(events, "DeviceRestored"), events)
	pi.stopAgent()
}

// TestEnrollmentIsDecidedByPeople: a device that nobody approved waits, says why,
// and goes on with its key; a stranger's token is of no use.
func TestEnrollmentIsDecidedByPeople(t *testing.T) {
	t.Parallel()
	f := startAuthFleet(t)
	f.startCallout("only")
	pi := f.device("pi-1")
	token := pi.invite("token", "--manual")

	out, err := pi.enroll(token, "--no-wait")
	require.Equal(t, 3, exitCode(t, err), out)
	require.Contains(t, out, "a person has to approve it")
	require.Contains(t, f.mustFleet("enroll", "list"), "Review")
	f.mustFleet("enroll", "deny", "pi-1", "--reason", "unknown serial")
	out, err = pi.enroll(token, "--no-wait")
	require.Equal(t, 4, exitCode(t, err), out)
	require.Contains(t, out, "unknown serial")

	thief := f.device("thief")
	out, err = thief.enroll(token, "--no-wait")
	require.Equal(t, 4, exitCode(t, err), out)
	require.Contains(t, out, "used with another key")

	f.mustFleet("enroll", "approve", "pi-1")
	out, err = pi.enroll(token)
	require.NoError(t, err, out)
	pi.startAgent()
	pi.awaitLink(true)
	pi.stopAgent()

	stranger := startAuthFleet(t)
	foreign := stranger.device("pi-2").invite("token")
	out, err = f.device("pi-2").enroll(foreign, "--no-wait")
	require.Equal(t, 4, exitCode(t, err), out)
	require.Contains(t, out, "refuses the token")
}
