package zitadel_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/zitadeltest"
	"github.com/nationtech/harmony-fleet/domain"
)

// While Zitadel is away, devices that have a token get in, those that restart and
// verifiers that restart among them.
func TestZitadelIsAway(t *testing.T) {
	t.Parallel()
	_, s := startEmulator(t, zitadeltest.Options{})
	f := newFleet(t, s)
	credential, key := f.enroll(t, "pi-1")
	config := device.Config{
		Issuer: f.issuer, ProjectID: f.setup.ProjectID, UserID: credential.UserID, KeyID: credential.KeyID, Signer: key,
		CacheFile: filepath.Join(t.TempDir(), "token.json"),
	}
	source, err := device.NewTokenSource(config, device.Options{Client: web()})
	require.NoError(t, err)
	token, err := source.Token(t.Context())
	require.NoError(t, err)
	trust := verifier.Config{Issuer: f.issuer, ProjectID: f.setup.ProjectID, DevicePrefix: f.prefix}
	kept := verifier.Options{Client: web(), CacheFile: filepath.Join(t.TempDir(), "keys.json")}
	v, err := verifier.New(trust, kept)
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), token.Value)
	require.NoError(t, err)

	s.setReachable(t, false)
	restarted, err := device.NewTokenSource(config, device.Options{Client: web()})
	require.NoError(t, err)
	again, err := restarted.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, token.Value, again.Value)
	v, err = verifier.New(trust, kept)
	require.NoError(t, err)
	principal, err := v.Verify(t.Context(), again.Value)
	require.NoError(t, err)
	require.Equal(t, credential.Device, principal.Device)

	other, err := verifier.New(trust, verifier.Options{Client: web()})
	require.NoError(t, err)
	_, err = other.Verify(t.Context(), again.Value)
	require.ErrorIs(t, err, domain.ErrUnavailable)
}

// Tokens are renewed long before they expire, so none is ever out of date.
func TestTokensAreRenewedInTime(t *testing.T) {
	t.Parallel()
	emulator, s := startEmulator(t, zitadeltest.Options{})
	f := newFleet(t, s)
	credential, key := f.enroll(t, "pi-1")
	emulator.SetTokenLifetime(4 * time.Second)
	source, err := device.NewTokenSource(device.Config{
		Issuer: f.issuer, ProjectID: f.setup.ProjectID, UserID: credential.UserID, KeyID: credential.KeyID, Signer: key,
	}, device.Options{Client: web()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	seen := map[string]bool{}
	require.Eventually(t, func() bool {
		token, err := source.Token(ctx)
		require.NoError(t, err)
		seen[token.Value] = true
		return len(seen) >= 3
	}, time.Minute, 50*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}
