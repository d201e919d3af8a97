package main

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/identity"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/local"
	"github.com/nationtech/harmony-fleet/contracts"
)

// unenrolled writes a configuration that leaves everything to the enrollment.
func unenrolled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "state_dir = %q\n", filepath.Join(dir, "state")), 0o600))
	return path
}

// enrolled gives the device of a configuration an identity.
func enrolled(t *testing.T, path string, expires time.Time) identity.Identity {
	t.Helper()
	c, err := config.Read(path)
	require.NoError(t, err)
	pending, err := c.Identities().Pending()
	require.NoError(t, err)
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	who := identity.Identity{Device: "pi-7", Key: pending.Name, Credential: contracts.DeviceCredential{
		Issuer: "http://127.0.0.1:1", ProjectID: "1", UserID: "fleet-pi-7", KeyID: "9", Servers: []string{"nats://127.0.0.1:1"},
		SigningKeys: []string{contracts.FormatPublicKey(public)}, KeyExpiresAt: expires,
	}}
	require.NoError(t, c.Identities().Commit(who))
	return who
}

func TestEnrollMistakesSayWhatToDo(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	token, err := contracts.NewEnrollmentToken("pi-7", time.Now().Add(time.Hour)).Sign(key)
	require.NoError(t, err)
	old, err := contracts.NewEnrollmentToken("pi-7", time.Now().Add(-time.Hour)).Sign(key)
	require.NoError(t, err)
	path := unenrolled(t)
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no token":        {[]string{"--config", path}, 2, "--token-file"},
		"two tokens":      {[]string{"--config", path, "--token", "a", "--token-file", "b"}, 2, "--token-file"},
		"no server":       {[]string{"--config", path, "--token", token}, 2, "--server"},
		"no token file":   {[]string{"--config", path, "--server", "nats://127.0.0.1:1", "--token-file", "/does/not/exist"}, 1, "/does/not/exist"},
		"broken token":    {[]string{"--config", path, "--server", "nats://127.0.0.1:1", "--token", token[:40]}, 1, "copy it again"},
		"expired token":   {[]string{"--config", path, "--server", "nats://127.0.0.1:1", "--token", old}, 1, "expired"},
		"no broker":       {[]string{"--config", path, "--server", "nats://127.0.0.1:1", "--token", token, "--no-wait"}, 5, "cannot be asked"},
		"no authority":    {[]string{"--config", path, "--server", "nats://127.0.0.1:1", "--token", token, "--ca-file", "/does/not/exist"}, 1, "/does/not/exist"},
		"static identity": {[]string{"--config", configuration(t), "--server", "nats://127.0.0.1:1", "--token", token}, 1, "names this device pi-042"},
		"no file":         {[]string{"--config", "/does/not/exist.toml", "--token", token}, 1, "/does/not/exist.toml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, code, err := execute(t, nil, append([]string{"enroll"}, c.args...)...)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.code, code)
			require.NotContains(t, err.Error(), token)
		})
	}
}

func TestDeviceWithoutIdentitySaysSo(t *testing.T) {
	t.Parallel()
	path := unenrolled(t)
	for _, command := range [][]string{{"check"}, {"run"}, {"status"}} {
		_, code, err := execute(t, nil, append(command, "--config", path)...)
		require.ErrorContains(t, err, "fleet-agent enroll", command)
		require.Equal(t, 1, code)
	}
	out, _, err := execute(t, nil, "doctor", "--config", path)
	require.Error(t, err)
	require.Regexp(t, `fail +identity +this device has none yet`, out)
}

func TestEnrolledDevice(t *testing.T) {
	t.Parallel()
	path := unenrolled(t)
	who := enrolled(t, path, time.Now().Add(300*24*time.Hour))
	out, _, err := execute(t, nil, "check", "--config", path)
	require.NoError(t, err)
	require.Contains(t, out, "valid for device pi-7")

	out, _, err = execute(t, nil, "status", "--config", path, "-o", "json")
	require.Error(t, err, "the agent does not run")
	var status local.Status
	require.NoError(t, json.Unmarshal([]byte(out), &status))
	require.Equal(t, "fleet-pi-7", status.Identity.UserID)
	require.True(t, who.Credential.KeyExpiresAt.Equal(status.Identity.KeyExpiresAt))
	out, _, _ = execute(t, nil, "status", "--config", path)
	require.Contains(t, out, "fleet-pi-7 at http://127.0.0.1:1, key 9 for 29")

	out, _, _ = execute(t, nil, "doctor", "--config", path)
	require.Regexp(t, `ok +identity +fleet-pi-7 at http://127.0.0.1:1, key 9 until`, out)
	enrolled(t, path, time.Now().Add(24*time.Hour))
	out, _, _ = execute(t, nil, "doctor", "--config", path)
	require.Regexp(t, `warn +identity +fleet-pi-7 .* expires at`, out)
	who = enrolled(t, path, time.Now().Add(-time.Hour))
	out, _, _ = execute(t, nil, "doctor", "--config", path)
	require.Regexp(t, `fail +identity +fleet-pi-7 .* expired at`, out)

	c, err := config.Load(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(c.Identities().KeyFile(who)))
	out, _, _ = execute(t, nil, "doctor", "--config", path)
	require.Regexp(t, `fail +identity +its key is gone`, out)
}
