package nats_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// closedPort returns the URL of a port that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return "nats://" + listener.Addr().String()
}

func TestConnectFailsFast(t *testing.T) {
	t.Parallel()
	began := time.Now()
	_, err := nats.Connect(t.Context(), nats.Config{Servers: []string{closedPort(t)}, FailFast: true})
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "connection refused")
	require.ErrorContains(t, err, "check that it runs")
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestConnectFailFastHonoursItsContext(t *testing.T) {
	t.Parallel()
	// A listener that never says a word.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = nats.Connect(ctx, nats.Config{Servers: []string{"nats://" + listener.Addr().String()}, FailFast: true})
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestConnectRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.nk")
	require.NoError(t, os.WriteFile(broken, []byte("SECRET"), 0o600))
	for name, config := range map[string]nats.Config{
		"no server":     {},
		"no seed":       {Servers: []string{"nats://127.0.0.1:1"}, Credential: nats.SeedFile(filepath.Join(dir, "none"))},
		"broken seed":   {Servers: []string{"nats://127.0.0.1:1"}, Credential: nats.SeedFile(broken)},
		"no password":   {Servers: []string{"nats://127.0.0.1:1"}, Credential: nats.PasswordFile("u", filepath.Join(dir, "none"))},
		"no authority":  {Servers: []string{"nats://127.0.0.1:1"}, CAFile: filepath.Join(dir, "none"), FailFast: true},
		"broken server": {Servers: []string{"nats://user:SECRET@[::"}},
		"no host":       {Servers: []string{"nats://user:SECRET@"}},
		"no PEM":        {Servers: []string{"nats://127.0.0.1:1"}, CAFile: broken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := nats.Connect(t.Context(), config)
			require.ErrorIs(t, err, domain.ErrInvalid)
			require.NotContains(t, err.Error(), "SECRET")
		})
	}
}

// A daemon starts without a broker, does not wait for it, and connects when it
// comes.
func TestConnectInTheBackground(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	server.Stop()
	began := time.Now()
	conn, err := nats.Connect(t.Context(), nats.Config{
		Servers: []string{server.URL()}, Credential: server.OperatorCredential(), ReconnectJitter: time.Millisecond,
	})
	require.NoError(t, err)
	require.Less(t, time.Since(began), time.Second)
	t.Cleanup(conn.Close)

	requireProblem(t, conn, "connection refused")
	_, err = nats.NewDeviceRegistry(conn).Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrUnavailable)
	server.Start()
	awaitLink(t, conn, true)
	_, err = nats.NewDeviceRegistry(conn).Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
	server.Stop()
	awaitLink(t, conn, false)
}

// A refused credential is told, and tried again for ever: it may be a registry
// that does not know the device yet.
func TestLinkSaysThatTheCredentialIsRefused(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Bare: true})
	other := natstest.Start(t, natstest.Options{Bare: true})
	conn, err := nats.Connect(t.Context(), nats.Config{
		Servers: []string{server.URL()}, Credential: other.OperatorCredential(), ReconnectJitter: time.Millisecond,
	})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	requireProblem(t, conn, "Authorization Violation")
}

func requireProblem(t *testing.T, conn *nats.Conn, problem string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	found := ""
	require.NoError(t, conn.Watch(ctx, func(state domain.LinkState) {
		if state.Problem != "" {
			found = state.Problem
			cancel()
		}
	}))
	require.Contains(t, found, problem)
}

// Nothing blocks, and nothing is kept for later, while there is no broker.
func TestNothingIsKeptWhileDisconnected(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	conn := server.Device(t, "pi-1")
	reporter := nats.NewObservedStateReporter(conn, "pi-1")
	require.NoError(t, reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))
	server.Stop()
	awaitLink(t, conn, false)
	began := time.Now()
	require.ErrorIs(t, reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 2}), domain.ErrUnavailable)
	require.ErrorIs(t, reporter.Report(t.Context(), contracts.DeviceReport{Sequence: 2}), domain.ErrUnavailable)
	require.ErrorIs(t, reporter.Info(t.Context(), contracts.DeviceInfo{}), domain.ErrUnavailable)
	require.Less(t, time.Since(began), time.Second)

	server.Start()
	operator := server.Operator(t)
	awaitLink(t, conn, true)
	require.NoError(t, reporter.Report(t.Context(), contracts.DeviceReport{Sequence: 3}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var sequences []uint64
	require.NoError(t, nats.NewObservedStateConsumer(operator).Consume(ctx, func(o domain.Observation) error {
		if o.Report != nil {
			sequences = append(sequences, o.Report.Sequence)
			cancel()
		}
		return nil
	}))
	require.Equal(t, []uint64{3}, sequences)
}

func TestReporterRefusesWhatIsInvalid(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	reporter := nats.NewObservedStateReporter(server.Device(t, "pi-1"), "pi-1")
	require.ErrorIs(t, reporter.Heartbeat(t.Context(), contracts.Heartbeat{AppliedGeneration: contracts.MaxGeneration + 1}), domain.ErrInvalid)
}

func TestExposed(t *testing.T) {
	t.Parallel()
	exposed := func(ca string, servers ...string) bool { return nats.Config{Servers: servers, CAFile: ca}.Exposed() }
	require.True(t, exposed("", "nats://broker.example:4222"))
	require.True(t, exposed("", "broker.example"))
	require.True(t, exposed("", "tls://broker.example", "nats://192.0.2.1"))
	require.False(t, exposed("", "tls://broker.example:4222"))
	require.False(t, exposed("", "nats://127.0.0.1:4222", "nats://[::1]:4222", "nats://localhost"))
	require.False(t, exposed("ca.pem", "nats://broker.example:4222"))
}

// TestTokenInTheClearIsTold to whoever reads the client's log.
func TestTokenInTheClearIsTold(t *testing.T) {
	t.Parallel()
	told := func(server string) string {
		var log bytes.Buffer
		conn, err := nats.Connect(t.Context(), nats.Config{
			Servers: []string{server}, Credential: nats.TokenCredential(fixedToken{Value: "SECRET"}),
			Logger: slog.New(slog.NewTextHandler(&log, nil)), ReconnectWait: time.Hour,
		})
		require.NoError(t, err)
		conn.Close()
		return log.String()
	}
	clear := told("nats://192.0.2.1:4222")
	require.Contains(t, clear, "tls://")
	require.NotContains(t, clear, "SECRET")
	require.Empty(t, told("tls://192.0.2.1:4222"))
}
