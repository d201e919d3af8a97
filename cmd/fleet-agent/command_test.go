package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// prepare returns the command, which prints to out.
func prepare(out io.Writer, env map[string]string, args ...string) *cobra.Command {
	command := newCommand("v1.2.3", func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	command.SetArgs(args)
	command.SetOut(out)
	command.SetErr(out)
	return command
}

// execute runs the command and returns what it printed and its exit code.
func execute(t *testing.T, env map[string]string, args ...string) (string, int, error) {
	t.Helper()
	var out bytes.Buffer
	err := prepare(&out, env, args...).ExecuteContext(t.Context())
	if err == nil {
		return out.String(), 0, nil
	}
	return out.String(), exitCode(err), err
}

// configuration writes a valid one for a broker that does not exist.
func configuration(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf(`device = "pi-042"
state_dir = %q
signing_keys = ["ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
[broker]
servers = ["nats://127.0.0.1:1"]
`, filepath.Join(dir, "state"))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestCheckNamesTheDevice(t *testing.T) {
	t.Parallel()
	out, _, err := execute(t, nil, "check", "--config", configuration(t))
	require.NoError(t, err)
	require.Contains(t, out, "valid for device pi-042")
	out, _, err = execute(t, map[string]string{"FLEET_AGENT_CONFIG": configuration(t)}, "check")
	require.NoError(t, err)
	require.Contains(t, out, "valid for device pi-042")
}

func TestMistakesSayWhatToDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no configuration": {[]string{"--config", "/does/not/exist.toml"}, 1, "/does/not/exist.toml"},
		"unknown flag":     {[]string{"--colour"}, 2, "--help"},
		"unknown command":  {[]string{"dance"}, 2, "--help"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, code, err := execute(t, nil, c.args...)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.code, code)
		})
	}
}

// TestDaemonLivesWithoutABroker starts the whole agent, which must neither fail
// nor block for want of a broker, and stops it as systemd would.
func TestDaemonLivesWithoutABroker(t *testing.T) {
	t.Parallel()
	path := configuration(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	daemon := prepare(io.Discard, nil, "--config", path)
	go func() { ended <- daemon.ExecuteContext(ctx) }()
	lock := filepath.Join(filepath.Dir(path), "state", processDir)
	require.Eventually(t, func() bool {
		_, err := os.Stat(lock)
		return err == nil
	}, waitLimit, pollInterval, "the state directory is made")
	stop()
	require.NoError(t, <-ended)

	out, _, err := execute(t, nil, "purge", "--config", path)
	require.NoError(t, err)
	require.Contains(t, out, "runs nothing")
}

const (
	waitLimit    = 10 * time.Second
	pollInterval = 10 * time.Millisecond
)
