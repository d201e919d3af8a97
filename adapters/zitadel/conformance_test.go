package zitadel_test

import (
	"context"
	"crypto/ecdsa"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/zitadeltest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/conformance"
)

func TestIdentityProviderConformance(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		conformance.IdentityProvider(t, func(t *testing.T) conformance.IdentityProviderFixture {
			t.Helper()
			return fixture(newFleet(t, open(t)))
		})
	})
}

func fixture(f *fleet) conformance.IdentityProviderFixture {
	return conformance.IdentityProviderFixture{
		Provider: f.provider,
		SignIn: func(t *testing.T, credential domain.DeviceCredential, key *ecdsa.PrivateKey) error {
			t.Helper()
			_, err := f.signIn(t, credential, key)
			return err
		},
		SetReachable: f.setReachable,
	}
}

// Across a restart of the server before each operation: what was acknowledged is
// kept, and the connection comes back by itself.
func TestIdentityProviderConformanceAcrossRestarts(t *testing.T) {
	t.Parallel()
	conformance.IdentityProvider(t, func(t *testing.T) conformance.IdentityProviderFixture {
		t.Helper()
		f := newFleet(t, emulated(t))
		made := fixture(f)
		made.Provider = restarting{IdentityProvider: f.provider, restart: func() { f.restart(t) }}
		made.SetReachable = nil // it restarts all the time
		return made
	})
}

// restarting restarts the server before each operation of a single device.
type restarting struct {
	domain.IdentityProvider
	restart func()
}

func (r restarting) Rotate(ctx context.Context, device contracts.DeviceID, publicKey string, expires time.Time) (domain.DeviceCredential, error) {
	r.restart()
	return r.IdentityProvider.Rotate(ctx, device, publicKey, expires)
}

func (r restarting) Revoke(ctx context.Context, device contracts.DeviceID) error {
	r.restart()
	return r.IdentityProvider.Revoke(ctx, device)
}

func (r restarting) Restore(ctx context.Context, device contracts.DeviceID) error {
	r.restart()
	return r.IdentityProvider.Restore(ctx, device)
}

func TestTokenVerifierConformance(t *testing.T) {
	t.Parallel()
	conformance.TokenVerifier(t, func(t *testing.T) conformance.TokenVerifierFixture {
		t.Helper()
		emulator, s := startEmulator(t, zitadeltest.Options{})
		f := newFleet(t, s)
		return conformance.TokenVerifierFixture{
			Verifier: f.verifier(t),
			Issue: func(t *testing.T, principal domain.Principal, lifetime time.Duration) string {
				t.Helper()
				roles := map[string]any{}
				for _, role := range principal.Roles {
					roles[string(role)] = map[string]string{f.setup.OrganizationID: "x"}
				}
				token, err := emulator.Sign(map[string]any{
					"sub": principal.Subject, "exp": time.Now().Add(lifetime).Unix(), "urn:zitadel:iam:org:project:" + f.setup.ProjectID + ":roles": roles,
				})
				require.NoError(t, err)
				return token
			},
			Subject:      f.prefix.UserID,
			SetReachable: f.setReachable,
			Foreign: func(t *testing.T) map[string]string {
				t.Helper()
				other := newFleet(t, s)
				token, err := other.provider.Token(t.Context())
				require.NoError(t, err)
				return map[string]string{"of another fleet": token.Value}
			},
		}
	})
}
