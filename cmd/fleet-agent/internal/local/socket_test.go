package local_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/local"
	"github.com/nationtech/harmony-fleet/domain"
)

func claim(t *testing.T, dir string) *local.Claim {
	t.Helper()
	claimed, err := local.NewClaim(t.Context(), dir, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return claimed
}

// serve answers on the socket of a directory until the returned function is
// called.
func serve(t *testing.T, dir string) func() {
	t.Helper()
	claimed := claim(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- claimed.Run(ctx, func() local.Status { return local.FromAgent(troubled()) }) }()
	require.Eventually(t, func() bool {
		_, err := local.Ask(ctx, dir)
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
	return func() {
		cancel()
		require.NoError(t, <-ended)
		claimed.Release()
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	stop := serve(t, dir)
	status, err := local.Ask(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, local.FromAgent(troubled()), status)
	info, err := os.Stat(local.SocketPath(dir))
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, info.Mode())
	stop()
	require.NoFileExists(t, local.SocketPath(dir))
	_, err = local.Ask(t.Context(), dir)
	require.ErrorIs(t, err, local.ErrNotRunning)
}

// A state directory may have a path that is too long for a socket.
func TestAnswersInALongDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	stop := serve(t, dir)
	stop()
}

func TestOneAgentForADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stop := serve(t, dir)
	_, err := local.NewClaim(t.Context(), dir, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, domain.ErrConflict)
	require.ErrorContains(t, err, "another agent runs on state directory "+dir)
	_, err = local.Ask(t.Context(), dir)
	require.NoError(t, err, "the first one is not disturbed")
	stop()
	claim(t, dir).Release()
}

// A lock that is given up within a moment is no other agent.
func TestClaimWaitsForAMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := claim(t, dir)
	go func() {
		<-time.After(150 * time.Millisecond)
		first.Release()
	}()
	claim(t, dir).Release()
}

// An agent that was killed leaves its socket.
func TestStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"agent.sock", "agent.sock.new"} {
		// Unlike listening, this takes a path of any length.
		require.NoError(t, syscall.Mknod(filepath.Join(dir, name), syscall.S_IFSOCK|0o600, 0))
	}
	_, err := local.Ask(t.Context(), dir)
	require.ErrorIs(t, err, local.ErrNotRunning)
	stop := serve(t, dir)
	stop()
}

func TestAskWhereThereIsNothing(t *testing.T) {
	t.Parallel()
	_, err := local.Ask(t.Context(), filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, local.ErrNotRunning)
}

// Field names are a promise to scripts.
func TestJSONNames(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(local.FromAgent(troubled()).Deployments[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"shop","generation":3,"appliedGeneration":2,"phase":"Failed","reason":"ImagePullFailed",
"message":"registry.example/shop:3 does not exist","since":"2026-11-23T11:58:30Z","restarts":0,"failures":2,
"nextRetry":"2026-11-23T12:00:30Z"}`, string(data))
	status := troubled()
	status.Deployments, status.Runtimes, status.Refused, status.DesiredProblem = nil, nil, nil, ""
	data, err = json.Marshal(local.FromAgent(status))
	require.NoError(t, err)
	require.JSONEq(t, `{"device":"pi-042","running":true,"version":"v1.2.3","startedAt":"2026-11-21T10:00:00Z",
"trustedKeys":["0123456789abcdef"],"link":{"connected":false,"since":"2026-11-23T11:55:00Z","problem":"connection refused"},
"desiredGeneration":12,"lastHeartbeatAt":"2026-11-23T11:54:00Z","deployments":[],"runtimes":[]}`, string(data))
}
