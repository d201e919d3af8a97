package keys_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/keys"
)

func TestGenerateThenLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "signing.pem")
	public, err := keys.Generate(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	private, err := keys.Load(path)
	require.NoError(t, err)
	require.True(t, public.Equal(private.Public()))
}

func TestGenerateNeverOverwrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "signing.pem")
	_, err := keys.Generate(path)
	require.NoError(t, err)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = keys.Generate(path)
	require.ErrorContains(t, err, "exists")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, data []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, mode))
		require.NoError(t, os.Chmod(path, mode)) // whatever the umask is
		return path
	}
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(elliptic)
	require.NoError(t, err)
	wrongKind := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})

	_, err = keys.Load(filepath.Join(dir, "missing.pem"))
	require.ErrorContains(t, err, "keygen")
	_, err = keys.Load(write("open.pem", wrongKind, 0o644))
	require.ErrorContains(t, err, "chmod 600")
	_, err = keys.Load(write("text.pem", []byte("hunter2"), 0o600))
	require.ErrorContains(t, err, "PEM")
	require.NotContains(t, err.Error(), "hunter2")
	_, err = keys.Load(write("ecdsa.pem", wrongKind, 0o600))
	require.ErrorContains(t, err, "Ed25519")
}

func TestLoadFromAMountedSecret(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a file to another user")
	}
	path := filepath.Join(t.TempDir(), "signing.pem")
	_, err := keys.Generate(path)
	require.NoError(t, err)
	require.NoError(t, os.Chown(path, 1, -1))
	require.NoError(t, os.Chmod(path, 0o440))
	_, err = keys.Load(path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o444))
	_, err = keys.Load(path)
	require.ErrorContains(t, err, "others can read it")
}
