package zitadel_test

import (
	"context"
	"crypto/ecdsa"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/zitadeltest"
	"github.com/nationtech/harmony-fleet/domain"
)

// server is a Zitadel that tests run against, which one they do not know.
type server struct {
	issuer string
	admin  zitadel.Admin
	// restart and setReachable are missing where a test has no power over the server.
	restart      func(t *testing.T)
	setReachable func(t *testing.T, reachable bool)
}

// eachServer runs a test against the emulator, and against the real server that
// the environment names, if it names one.
func eachServer(t *testing.T, test func(t *testing.T, open func(t *testing.T) server)) {
	t.Helper()
	t.Run("emulator", func(t *testing.T) { test(t, emulated) })
	if issuer := os.Getenv("FLEET_TEST_ZITADEL_URL"); issuer != "" {
		t.Run("real", func(t *testing.T) {
			test(t, func(*testing.T) server {
				return server{issuer: issuer, admin: zitadel.Admin{AccessToken: os.Getenv("FLEET_TEST_ZITADEL_PAT")}}
			})
		})
	}
}

func emulated(t *testing.T) server {
	t.Helper()
	_, s := startEmulator(t, zitadeltest.Options{Lag: 20 * time.Millisecond, Dir: t.TempDir()})
	return s
}

func startEmulator(t *testing.T, options zitadeltest.Options) (*zitadeltest.Emulator, server) {
	t.Helper()
	emulator, err := zitadeltest.Start(options)
	require.NoError(t, err)
	t.Cleanup(emulator.Close)
	restart := func(t *testing.T) {
		t.Helper()
		require.NoError(t, emulator.Restart(t.Context()))
	}
	return emulator, server{
		issuer: emulator.Issuer(), admin: zitadel.Admin{AccessToken: emulator.AdminToken()}, restart: restart,
		setReachable: func(t *testing.T, reachable bool) {
			t.Helper()
			if reachable {
				restart(t)
				return
			}
			emulator.Stop()
		},
	}
}

// fleet is a fleet of its own at a server.
type fleet struct {
	server
	prefix   verifier.DevicePrefix
	setup    zitadel.SetupResult
	provider *zitadel.ZitadelIdentityProvider
}

// web is a client that keeps no connection, and so leaves nothing behind.
func web() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
}

func newFleet(t *testing.T, s server) *fleet {
	t.Helper()
	name := strings.ToLower(rand8())
	f := &fleet{server: s, prefix: verifier.DevicePrefix("t" + name + "-")}
	var err error
	f.setup, err = zitadel.Setup(t.Context(), s.admin, f.setupConfig(), zitadel.SetupOptions{Client: web()})
	require.NoError(t, err)
	require.NotNil(t, f.setup.Key)
	f.provider, err = zitadel.New(context.WithoutCancel(t.Context()), zitadel.Config{
		Issuer: s.issuer, OrganizationID: f.setup.OrganizationID, ProjectID: f.setup.ProjectID, DevicePrefix: f.prefix, Key: *f.setup.Key,
	}, zitadel.Options{Client: web(), CallTimeout: 5 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.provider.Close()) })
	return f
}

func (f *fleet) setupConfig() zitadel.SetupConfig {
	return zitadel.SetupConfig{Issuer: f.issuer, Project: "fleet " + string(f.prefix), DevicePrefix: f.prefix}
}

// signIn gets a token as the device does.
func (f *fleet) signIn(t *testing.T, credential domain.DeviceCredential, key *ecdsa.PrivateKey) (domain.Token, error) {
	t.Helper()
	source, err := device.NewTokenSource(device.Config{
		Issuer: f.issuer, ProjectID: f.setup.ProjectID, UserID: credential.UserID, KeyID: credential.KeyID, Signer: key,
	}, device.Options{Client: web()})
	require.NoError(t, err)
	return source.Token(t.Context())
}

func (f *fleet) verifier(t *testing.T) *verifier.Verifier {
	t.Helper()
	v, err := verifier.New(verifier.Config{Issuer: f.issuer, ProjectID: f.setup.ProjectID, DevicePrefix: f.prefix}, verifier.Options{Client: web()})
	require.NoError(t, err)
	return v
}
