package zitadel_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/zitadeltest"
	"github.com/nationtech/harmony-fleet/domain"
)

func openSetup(t *testing.T, s server, config zitadel.SetupConfig, options zitadel.SetupOptions) *zitadel.FleetSetup {
	t.Helper()
	opened, err := zitadel.OpenSetup(context.WithoutCancel(t.Context()), s.admin, config, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	return opened
}

func freshConfig(s server) zitadel.SetupConfig {
	name := "s" + strings.ToLower(rand8())
	return zitadel.SetupConfig{Issuer: s.issuer, Project: "fleet " + name, DevicePrefix: verifier.DevicePrefix(name + "-")}
}

// Each part is missing, is made once, and is seen by others at once. In the end all
// of it works.
func TestSetupPartByPart(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		s := open(t)
		config := freshConfig(s)
		maker := openSetup(t, s, config, zitadel.SetupOptions{Client: web()})
		looked := map[string][]string{}
		for _, part := range maker.Parts() {
			missing, err := part.Missing(t.Context())
			require.NoError(t, err, part.Name)
			require.NotEmpty(t, missing, part.Name)
			looked[part.Name] = missing
			require.NoError(t, part.Make(t.Context()), part.Name)
			seen, err := openSetup(t, s, config, zitadel.SetupOptions{}).Part(part.Name)
			require.NoError(t, err)
			missing, err = seen.Missing(t.Context())
			require.NoError(t, err)
			require.Empty(t, missing, part.Name)
			require.NoError(t, part.Make(t.Context()), "twice")
		}
		require.Equal(t, []string{"device", "operator", "viewer"}, looked["roles"])
		require.Equal(t, []string{"ORG_USER_MANAGER"}, looked["operator's right"])

		signer, err := zitadel.NewOperatorKey()
		require.NoError(t, err)
		key, err := maker.OperatorKey(t.Context(), signer)
		require.NoError(t, err)
		found, err := maker.Find(t.Context())
		require.NoError(t, err)
		provider, err := zitadel.New(t.Context(), zitadel.Config{
			Issuer: s.issuer, OrganizationID: found.OrganizationID, ProjectID: found.ProjectID, DevicePrefix: config.DevicePrefix, Key: key,
		}, zitadel.Options{Client: web()})
		require.NoError(t, err)
		defer func() { require.NoError(t, provider.Close()) }()
		require.NoError(t, provider.Check(t.Context()))

		require.NoError(t, maker.RemoveOperator(t.Context()))
		require.NoError(t, maker.RemoveOperator(t.Context()), "twice")
		known, err := maker.KnowsKey(t.Context(), key.KeyID)
		require.NoError(t, err)
		require.False(t, known)
	})
}

// Whoever keeps the key and was cut off before it had the ID goes on with the same
// key, and other keys of the operator stay.
func TestOperatorKeyIsFoundAgain(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		signer, err := zitadel.NewOperatorKey()
		require.NoError(t, err)
		first, err := openSetup(t, f.server, f.setupConfig(), zitadel.SetupOptions{Client: web()}).OperatorKey(t.Context(), signer)
		require.NoError(t, err)
		again := openSetup(t, f.server, f.setupConfig(), zitadel.SetupOptions{Client: web()})
		second, err := again.OperatorKey(t.Context(), signer)
		require.NoError(t, err)
		require.Equal(t, first.KeyID, second.KeyID)
		for _, id := range []string{first.KeyID, f.setup.Key.KeyID} {
			known, err := again.KnowsKey(t.Context(), id)
			require.NoError(t, err)
			require.True(t, known)
		}
	})
}

func TestLostOperatorKeysDoNotPileUp(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		s := open(t)
		config := freshConfig(s)
		config.NewKey = true
		var ids []string
		for range 8 {
			made, err := zitadel.Setup(t.Context(), s.admin, config, zitadel.SetupOptions{})
			require.NoError(t, err)
			ids = append(ids, made.Key.KeyID)
		}
		setup := openSetup(t, s, config, zitadel.SetupOptions{Client: web()})
		known := func() (left []string) {
			for _, id := range ids {
				there, err := setup.KnowsKey(t.Context(), id)
				require.NoError(t, err)
				if there {
					left = append(left, id)
				}
			}
			return left
		}
		require.Eventually(t, func() bool { return len(known()) == 8 }, 20*time.Second, 50*time.Millisecond)
		signer, err := zitadel.NewOperatorKey()
		require.NoError(t, err)
		key, err := setup.OperatorKey(t.Context(), signer)
		require.NoError(t, err)
		ids = append(ids, key.KeyID)
		require.Eventually(t, func() bool { return len(known()) == 5 }, 20*time.Second, 50*time.Millisecond)
		require.Equal(t, ids[4:], known(), "the newest")
	})
}

// A server that is reached through a forward is asked in the issuer's name, of
// which nobody here knows the address.
func TestSetupThroughAForward(t *testing.T) {
	t.Parallel()
	emulator, s := startEmulator(t, zitadeltest.Options{Issuer: "https://sso.example:8443"})
	config := freshConfig(s)
	setup := openSetup(t, s, config, zitadel.SetupOptions{Through: emulator.Address()})
	for _, part := range setup.Parts() {
		require.NoError(t, part.Make(t.Context()))
	}
	signer, err := zitadel.NewOperatorKey()
	require.NoError(t, err)
	key, err := setup.OperatorKey(t.Context(), signer)
	require.NoError(t, err)
	found, err := setup.Find(t.Context())
	require.NoError(t, err)
	provider, err := zitadel.New(t.Context(), zitadel.Config{
		Issuer: s.issuer, OrganizationID: found.OrganizationID, ProjectID: found.ProjectID, DevicePrefix: config.DevicePrefix, Key: key,
	}, zitadel.Options{Through: emulator.Address()})
	require.NoError(t, err)
	defer func() { require.NoError(t, provider.Close()) }()
	require.NoError(t, provider.Check(t.Context()))

	config.Issuer = "https://other.example"
	other, err := openSetup(t, s, config, zitadel.SetupOptions{Through: emulator.Address()}).Part("project")
	require.NoError(t, err)
	_, err = other.Missing(t.Context())
	require.ErrorIs(t, err, domain.ErrInvalid)
	require.ErrorContains(t, err, "is not known by this name")
}
