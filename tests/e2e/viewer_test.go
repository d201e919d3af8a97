package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// TestViewer: with an access token that holds the role viewer, the fleet command
// shows the fleet, changes nothing, and says why not.
func TestViewer(t *testing.T) {
	t.Parallel()
	f := startAuthFleet(t)
	f.startCallout("only")
	pi := f.device("pi-1")
	out, err := pi.enroll(pi.invite("token", "-l", "site=paris"))
	require.NoError(t, err, out)
	pi.startAgent()
	pi.awaitLink(true)
	f.mustFleet("apply", "-f", example("hello.yaml"))
	observer, err := fleettest.Observe(f.ctx, f.server, f.path("operator.nk"))
	require.NoError(t, err)
	defer observer.Close()
	_, err = observer.AwaitRunning(f.ctx, "hello", 1, nil)
	require.NoError(t, err)

	now := time.Now().Unix()
	token, err := f.identity.Sign(map[string]any{
		"iss": f.identity.Issuer(), "sub": "vera", "jti": "1", "aud": []string{f.setup.ProjectID}, "iat": now, "exp": now + 3600,
		"urn:zitadel:iam:org:project:" + f.setup.ProjectID + ":roles": map[string]any{"viewer": map[string]string{f.setup.OrganizationID: "example"}},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.path("viewer.token"), []byte(token), 0o600))
	view := func(args ...string) (string, string, error) {
		return fleettest.Run(f.ctx, filepath.Join(bin, "fleet"), args, []string{
			"FLEET_NATS_URL=" + f.server, "FLEET_ACCESS_TOKEN_FILE=" + f.path("viewer.token"), "XDG_CONFIG_HOME=" + f.path("config"),
		})
	}

	for _, question := range [][]string{
		{"get", "devices", "-o", "name"},
		{"get", "deployments", "-o", "name"},
		{"get", "events", "--kind", "DeviceEnrolled", "-o", "json"},
	} {
		shown, said, err := view(question...)
		require.NoError(t, err, "%s: %s", question, said)
		require.Equal(t, f.mustFleet(question...), shown, "a viewer sees what an operator sees")
	}
	for _, question := range [][]string{
		{"get", "devices", "-o", "wide"},
		{"get", "deployments"},
		{"describe", "device", "pi-1"},
		{"describe", "deployment", "hello"},
		{"rollout", "status", "hello"},
		{"rollout", "history", "hello"},
		{"status"},
	} {
		shown, said, err := view(question...)
		require.NoError(t, err, "%s: %s", question, said)
		require.NotEmpty(t, shown)
		t.Logf("%s\n%s", question, shown)
	}

	for _, attempt := range [][]string{
		{"apply", "-f", example("hello-v2.yaml")},
		{"delete", "deployment", "hello"},
		{"label", "device", "pi-1", "ring=1"},
		{"device", "revoke", "pi-1"},
		{"device", "rotate", "pi-1"},
		{"enroll", "create", "pi-2"},
		{"enroll", "list"},
		{"logs", "pi-1/hello"},
		{"exec", "pi-1", "--", "true"},
		{"ping", "pi-1"},
		{"reconcile", "pi-1"},
	} {
		_, said, err := view(attempt...)
		t.Logf("%s: %s", attempt, said)
		require.Error(t, err, "%s", attempt)
		require.Contains(t, said, "this credential is a viewer's", "%s", attempt)
	}
	require.Len(t, strings.Split(strings.TrimSpace(f.mustFleet("rollout", "history", "hello")), "\n"), 2, "the heading and one generation")
	require.NotContains(t, f.mustFleet("get", "events", "-o", "json"), "vera")
	pi.stopAgent()
}
