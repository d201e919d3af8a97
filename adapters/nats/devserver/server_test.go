package devserver_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestUserKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys", "operator.nk")
	first, err := devserver.UserKey(path)
	require.NoError(t, err)
	second, err := devserver.UserKey(path)
	require.NoError(t, err)
	require.Equal(t, first, second)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())

	require.NoError(t, os.WriteFile(path, []byte("SECRET"), 0o600))
	_, err = devserver.UserKey(path)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "SECRET")
}

func TestServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	operator, err := devserver.UserKey(filepath.Join(dir, "operator.nk"))
	require.NoError(t, err)
	device, err := devserver.UserKey(filepath.Join(dir, "device.nk"))
	require.NoError(t, err)
	server, err := devserver.New(devserver.Options{StoreDir: filepath.Join(dir, "store"), Operator: operator, Sync: true})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()

	connect := func(seed, inbox string) (*nats.Conn, error) {
		return nats.Connect(t.Context(), nats.Config{
			Servers: []string{server.URL()}, Credential: nats.SeedFile(filepath.Join(dir, seed)), InboxPrefix: inbox, FailFast: true,
		})
	}
	conn, err := connect("operator.nk", "")
	require.NoError(t, err)
	require.NoError(t, nats.Setup(t.Context(), conn, nats.SetupOptions{}))
	require.ErrorIs(t, nats.Setup(t.Context(), conn, nats.SetupOptions{Replicas: 3, Fix: true}), domain.ErrUnsupported)
	_, err = connect("device.nk", contracts.InboxPrefix("pi-1"))
	require.ErrorIs(t, err, domain.ErrUnauthenticated)

	// A device that is added at run time disturbs nobody.
	server.AddDevice("pi-1", device)
	pi, err := connect("device.nk", contracts.InboxPrefix("pi-1"))
	require.NoError(t, err)
	pi.Close()
	_, err = nats.NewDeviceRegistry(conn).Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
	conn.Close()

	_, err = devserver.New(devserver.Options{StoreDir: ""})
	require.Error(t, err)
	cancel()
	require.NoError(t, <-ended)
}
