package contexts_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/contexts"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "harmony-fleet")
	store := contexts.NewStore(dir)

	names, err := store.List()
	require.NoError(t, err)
	assert.Empty(t, names)
	current, err := store.Current()
	require.NoError(t, err)
	assert.Empty(t, current)
	require.ErrorIs(t, store.Use("dev"), domain.ErrNotFound)
	_, err = store.Load("dev")
	require.ErrorIs(t, err, domain.ErrNotFound)

	dev := contexts.Context{Server: "nats://127.0.0.1:4222", NKeyFile: "/tmp/x.nk", HeartbeatInterval: contracts.DefaultHeartbeatInterval}
	require.NoError(t, store.Save("prod", contexts.Context{Server: "tls://a:4222,tls://b:4222"}))
	require.NoError(t, store.Save("dev", contexts.Context{Server: "nats://old:1"}))
	require.NoError(t, store.Save("dev", dev))
	loaded, err := store.Load("dev")
	require.NoError(t, err)
	assert.Equal(t, dev, loaded)

	info, err := os.Stat(filepath.Join(dir, "contexts", "dev.json"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(dir, "contexts"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	require.NoError(t, store.Use("prod"))
	require.NoError(t, store.Use("dev"))
	current, err = store.Current()
	require.NoError(t, err)
	assert.Equal(t, "dev", current)
	linked, err := os.ReadFile(filepath.Join(dir, "current"))
	require.NoError(t, err)
	assert.Contains(t, string(linked), "/tmp/x.nk")
	names, err = store.List()
	require.NoError(t, err)
	assert.Equal(t, []string{"dev", "prod"}, names)

	require.NoError(t, store.Remove("dev"))
	require.NoError(t, store.Remove("dev"))
	current, err = store.Current()
	require.NoError(t, err)
	assert.Empty(t, current)
	names, err = store.List()
	require.NoError(t, err)
	assert.Equal(t, []string{"prod"}, names)
}

func TestRefuses(t *testing.T) {
	store := contexts.NewStore(t.TempDir())
	for _, name := range []string{"", "../x", ".hidden", "a/b", "-x"} {
		require.ErrorIs(t, store.Save(name, contexts.Context{Server: "nats://h:1"}), domain.ErrInvalid, name)
	}
	for _, c := range []contexts.Context{
		{},
		{Server: "host"},
		{Server: "nats://user:secret@host:4222"},
		{Server: "nats://h:1", NKeyFile: "x", User: "y", PasswordFile: "z"},
		{Server: "nats://h:1", NKeyFile: "x", AccessTokenFile: "t"},
		{Server: "nats://h:1", User: "y", PasswordFile: "z", AccessTokenFile: "t"},
		{Server: "nats://h:1", User: "y"},
		{Server: "nats://h:1", HeartbeatInterval: 1},
	} {
		err := store.Save("x", c)
		require.ErrorIs(t, err, domain.ErrInvalid, "%+v", c)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "contexts"), 0o700))
	path := filepath.Join(dir, "contexts", "x.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"server":"nats://h:1","nkey":"f"}`), 0o600))
	_, err := contexts.NewStore(dir).Load("x")
	require.ErrorIs(t, err, domain.ErrInvalid)
	assert.Contains(t, err.Error(), path)
	assert.Contains(t, err.Error(), "nkey")
}

func TestDefaultDir(t *testing.T) {
	getenv := func(env map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	}
	dir, err := contexts.DefaultDir(getenv(map[string]string{"HOME": "/home/x"}))
	require.NoError(t, err)
	assert.Equal(t, "/home/x/.config/harmony-fleet", dir)
	dir, err = contexts.DefaultDir(getenv(map[string]string{"HOME": "/home/x", "XDG_CONFIG_HOME": "/c"}))
	require.NoError(t, err)
	assert.Equal(t, "/c/harmony-fleet", dir)
	_, err = contexts.DefaultDir(getenv(nil))
	require.Error(t, err)
}
