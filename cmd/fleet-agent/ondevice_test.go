package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/doctor"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/local"
)

// startDaemon runs the agent until the returned function stops it.
func startDaemon(t *testing.T, path string, env map[string]string) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	daemon := prepare(io.Discard, env, "--config", path)
	go func() { ended <- daemon.ExecuteContext(ctx) }()
	require.Eventually(t, func() bool {
		_, err := local.Ask(ctx, filepath.Join(filepath.Dir(path), "state"))
		return err == nil
	}, waitLimit, pollInterval, "the daemon answers")
	return func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func TestStatusOfARunningAgent(t *testing.T) {
	t.Parallel()
	path := configuration(t)
	stop := startDaemon(t, path, nil)
	out, _, err := execute(t, nil, "status", "--config", path)
	require.NoError(t, err)
	require.Regexp(t, `Device +pi-042\n`, out)
	require.Regexp(t, `Agent +v1.2.3, up `, out)
	require.Regexp(t, `Link +not connected for `, out)
	require.Regexp(t, `Desired state +none yet\n`, out)

	out, _, err = execute(t, nil, "status", "-o", "json", "--config", path)
	require.NoError(t, err)
	var status local.Status
	require.NoError(t, json.Unmarshal([]byte(out), &status))
	require.True(t, status.Running)
	require.Equal(t, "v1.2.3", status.Version)

	_, code, err := execute(t, nil, "--config", path)
	require.ErrorContains(t, err, "another agent runs on state directory")
	require.Equal(t, 1, code)

	stop()
	out, code, err = execute(t, nil, "status", "--config", path)
	require.ErrorIs(t, err, local.ErrNotRunning)
	require.Equal(t, 1, code)
	require.Contains(t, out, "does not run; this is on disk, with phases as last saved")
}

func TestDoctorWithoutDaemonAndBroker(t *testing.T) {
	t.Parallel()
	path := configuration(t)
	out, code, err := execute(t, nil, "doctor", "--config", path)
	require.ErrorIs(t, err, errUnwell)
	require.Equal(t, 1, code)
	require.Regexp(t, `(?m)^fail +broker 127.0.0.1:1 .*connection refused$`, out)
	require.Regexp(t, `(?m)^fail +daemon .*does not run`, out)

	out, _, err = execute(t, nil, "doctor", "-o", "json", "--config", path)
	require.ErrorIs(t, err, errUnwell)
	var found struct{ Checks []doctor.Check }
	require.NoError(t, json.Unmarshal([]byte(out), &found))
	require.Equal(t, "clock", found.Checks[0].Name)
	require.Equal(t, doctor.OK, found.Checks[0].Level)
}

func TestUnknownOutput(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"status", "doctor"} {
		_, code, err := execute(t, nil, name, "-o", "xml", "--config", configuration(t))
		require.ErrorContains(t, err, "use text or json")
		require.Equal(t, 2, code)
	}
}

// systemd learns when the agent is ready, that it lives, and when it stops.
func TestDaemonTellsTheServiceManager(t *testing.T) {
	path := configuration(t)
	t.Chdir(t.TempDir()) // a socket's path is short
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "notify", Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	next := func() string {
		buffer := make([]byte, 256)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(waitLimit)))
		n, err := conn.Read(buffer)
		require.NoError(t, err)
		return string(buffer[:n])
	}
	stop := startDaemon(t, path, map[string]string{"NOTIFY_SOCKET": "notify", "WATCHDOG_USEC": "500000"})
	require.Equal(t, "READY=1", next())
	require.Equal(t, "WATCHDOG=1", next())
	stop()
	last := next()
	for last == "WATCHDOG=1" {
		last = next()
	}
	require.Equal(t, "STOPPING=1", last)
}
