package notify_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/notify"
)

// manager is a service manager's end of NOTIFY_SOCKET.
func manager(t *testing.T) (string, func() string) {
	t.Helper()
	t.Chdir(t.TempDir()) // a socket's path is short
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "notify", Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return "notify", func() string {
		buffer := make([]byte, 256)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, err := conn.Read(buffer)
		require.NoError(t, err)
		return string(buffer[:n])
	}
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { value, ok := env[name]; return value, ok }
}

// run starts a notifier and returns a function that stops it.
func run(t *testing.T, env map[string]string, alive func()) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- notify.New(lookup(env), slog.New(slog.DiscardHandler)).Run(ctx, alive) }()
	return func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func TestTellsReadyAndStopping(t *testing.T) {
	socket, next := manager(t)
	stop := run(t, map[string]string{"NOTIFY_SOCKET": socket}, nil)
	require.Equal(t, "READY=1", next())
	stop()
	require.Equal(t, "STOPPING=1", next())
}

func TestTellsThatItLives(t *testing.T) {
	socket, next := manager(t)
	asked := make(chan struct{}, 1)
	stop := run(t, map[string]string{
		"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": strconv.Itoa(os.Getpid()),
	}, func() {
		select {
		case asked <- struct{}{}:
		default:
		}
	})
	require.Equal(t, "READY=1", next())
	require.Equal(t, "WATCHDOG=1", next())
	require.Equal(t, "WATCHDOG=1", next())
	<-asked
	stop()
}

// A process that hangs gives no sign of life.
func TestHangIsNotHidden(t *testing.T) {
	socket, next := manager(t)
	hang := make(chan struct{})
	var told atomic.Bool
	stop := run(t, map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "2000"}, func() { <-hang })
	require.Equal(t, "READY=1", next())
	go func() {
		defer close(hang)
		// Many times the interval between two signs of life.
		<-time.After(50 * time.Millisecond)
		if told.Load() {
			t.Error("a sign of life while it hung")
		}
	}()
	require.Equal(t, "WATCHDOG=1", next())
	told.Store(true)
	stop()
}

func TestWatchdogOfAnotherProcessIsNotOurs(t *testing.T) {
	socket, next := manager(t)
	stop := run(t, map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": "1"}, func() {
		t.Error("asked for a sign of life")
	})
	require.Equal(t, "READY=1", next())
	stop()
	require.Equal(t, "STOPPING=1", next())
}

func TestNoServiceManager(t *testing.T) {
	t.Parallel()
	require.NoError(t, notify.New(lookup(nil), slog.New(slog.DiscardHandler)).Run(t.Context(), nil))
}

func TestUnreachableServiceManagerIsLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	env := map[string]string{"NOTIFY_SOCKET": filepath.Join(t.TempDir(), "none")}
	require.NoError(t, notify.New(lookup(env), slog.New(slog.NewTextHandler(&log, nil))).Run(ctx, nil))
	require.Contains(t, log.String(), "READY=1")
	require.Contains(t, log.String(), "STOPPING=1")
}
