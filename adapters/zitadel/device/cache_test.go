package device_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
)

func TestTokenSurvivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token.json")
	synctest.Test(t, func(t *testing.T) {
		p, config := newProvider(t)
		config.CacheFile = file
		first, err := open(t, p, config, nil).Token(t.Context())
		require.NoError(t, err)
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		left, err := os.ReadDir(filepath.Dir(file))
		require.NoError(t, err)
		require.Len(t, left, 1, "no temporary file stays")

		p.set(func(p *provider) { p.down = true })
		pass(time.Hour)
		again, err := open(t, p, config, nil).Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, first, again)
		require.Equal(t, 1, p.count())

		// A rotated key goes on with the token, another user or project does not.
		rotated := config
		rotated.KeyID = "key-2"
		again, err = open(t, p, rotated, nil).Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, first, again)
		for _, spoil := range []func(*device.Config){
			func(c *device.Config) { c.UserID = "fleet-pi-2" },
			func(c *device.Config) { c.ProjectID = "4712" },
			func(c *device.Config) { c.Issuer = "https://other.example.com" },
		} {
			other := config
			spoil(&other)
			_, err := open(t, p, other, nil).Token(t.Context())
			require.Error(t, err)
		}
	})
}

func TestDamagedCacheIsReplaced(t *testing.T) {
	for name, content := range map[string]string{
		"empty":    "",
		"no JSON":  "secret-text",
		"no token": "{}",
		"too long": `{"token":"` + string(bytes.Repeat([]byte("a"), 100_000)) + `"}`,
		"for ever": `{"issuer":"` + issuer + `","projectID":"4711","userID":"fleet-pi-1","token":"x","expiresAt":"9999-01-01T00:00:00Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token.json")
			require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
			synctest.Test(t, func(t *testing.T) {
				p, config := newProvider(t)
				config.CacheFile = file
				var log bytes.Buffer
				_, err := open(t, p, config, &log).Token(t.Context())
				require.NoError(t, err)
				require.Contains(t, log.String(), "token cache cannot be used")
				require.NotContains(t, log.String(), "secret-text")
				info, err := os.Stat(file)
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			})
		})
	}
}

func TestCacheThatCannotBeWrittenIsOnlyLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, config := newProvider(t)
		config.CacheFile = filepath.Join(t.TempDir(), "missing", "token.json")
		var log bytes.Buffer
		token, err := open(t, p, config, &log).Token(t.Context())
		require.NoError(t, err)
		require.Contains(t, log.String(), "could not be kept on disk")
		require.NotContains(t, log.String(), token.Value)
	})
}
