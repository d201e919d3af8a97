package identity_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/identity"
	"github.com/nationtech/harmony-fleet/contracts"
)

func credential(key string) contracts.DeviceCredential {
	return contracts.DeviceCredential{
		Issuer: "https://id.example", ProjectID: "1", UserID: "fleet-pi-1", KeyID: key,
		Servers: []string{"tls://broker.example:4222"}, ServerCA: "PEM\n",
		SigningKeys:  []string{"ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
		KeyExpiresAt: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "identity")
	store := identity.NewStore(dir, nil)
	_, err := store.Load()
	require.ErrorIs(t, err, identity.ErrNone)
	require.ErrorIs(t, err, fs.ErrNotExist)

	pending, err := store.Pending()
	require.NoError(t, err)
	again, err := identity.NewStore(dir, nil).Pending()
	require.NoError(t, err)
	require.Equal(t, pending, again, "an interrupted enrollment goes on with its key")
	_, err = store.Load()
	require.ErrorIs(t, err, identity.ErrNone)

	first := identity.Identity{Device: "pi-1", Key: pending.Name, Credential: credential("1")}
	require.NoError(t, store.Commit(first))
	loaded, err := store.Load()
	require.NoError(t, err)
	require.Equal(t, first, loaded)
	authority, err := os.ReadFile(store.AuthorityFile(loaded))
	require.NoError(t, err)
	require.Equal(t, "PEM\n", string(authority))
	signer, err := store.Key(loaded)
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("x"))
	signature, err := signer.Sign(rand.Reader, digest[:], nil)
	require.NoError(t, err)
	public, ok := signer.Public().(*ecdsa.PublicKey)
	require.True(t, ok)
	require.True(t, ecdsa.VerifyASN1(public, digest[:], signature))

	next, err := store.Pending()
	require.NoError(t, err)
	require.NotEqual(t, pending.PublicKey, next.PublicKey)
	_, err = store.Key(first)
	require.NoError(t, err, "until then the old key works")
	require.NoError(t, store.Commit(identity.Identity{Device: "pi-1", Key: next.Name, Credential: credential("2")}))
	_, err = store.Key(first)
	require.ErrorIs(t, err, fs.ErrNotExist, "the old key is forgotten")

	for _, entry := range must(os.ReadDir(dir)) {
		info, err := entry.Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), entry.Name())
	}
	require.Len(t, must(os.ReadDir(dir)), 3, "nothing is left over")
}

func must(entries []os.DirEntry, err error) []os.DirEntry {
	if err != nil {
		panic(err)
	}
	return entries
}

func TestStoreRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := identity.NewStore(dir, nil)
	pending, err := store.Pending()
	require.NoError(t, err)
	good := identity.Identity{Device: "pi-1", Key: pending.Name, Credential: credential("1")}
	bad := good
	bad.Credential.SigningKeys = nil
	require.Error(t, store.Commit(bad))
	require.NoError(t, store.Commit(good))

	require.NoError(t, os.Chmod(store.KeyFile(good), 0o640))
	_, err = store.Key(good)
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Chmod(store.KeyFile(good), 0o600))
	require.NoError(t, os.WriteFile(store.KeyFile(good), []byte("SECRET"), 0o600))
	_, err = store.Key(good)
	require.ErrorContains(t, err, "PEM")
	require.NotContains(t, err.Error(), "SECRET")
	for _, name := range []string{"../key-1.pem", "identity.json", ""} {
		_, err = store.Key(identity.Identity{Key: name})
		require.Error(t, err, name)
	}

	// A damaged identity is replaced by the next enrollment, and so is a pending
	// key that is gone.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "identity.json"), []byte(`{"device":`), 0o600))
	_, err = store.Load()
	require.ErrorContains(t, err, "enroll the device anew")
	require.NotErrorIs(t, err, identity.ErrNone)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pending.json"), []byte(`{"key":"key-00.pem"}`), 0o600))
	pending, err = store.Pending()
	require.NoError(t, err)
	require.NoError(t, store.Commit(identity.Identity{Device: "pi-1", Key: pending.Name, Credential: credential("2")}))
	_, err = store.Load()
	require.NoError(t, err)
}

func FuzzIdentity(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"device":"pi-1","key":"key-1.pem","credential":{}}`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "identity.json"), data, 0o600))
		loaded, err := identity.NewStore(dir, nil).Load()
		if err == nil {
			require.NoError(t, loaded.Validate())
		}
	})
}
