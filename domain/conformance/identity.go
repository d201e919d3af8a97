package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// IdentityProviderFixture is a provider that knows no device.
type IdentityProviderFixture struct {
	Provider domain.IdentityProvider
	// SignIn gets a token as the device does, with its private key: nil when it
	// got one.
	SignIn func(t *testing.T, credential domain.DeviceCredential, key *ecdsa.PrivateKey) error
	// SetReachable takes the provider away and brings it back.
	SetReachable func(t *testing.T, reachable bool)
}

// IdentityProvider checks an implementation of domain.IdentityProvider.
func IdentityProvider(t *testing.T, open func(t *testing.T) IdentityProviderFixture) {
	t.Helper()
	reach := named("SetReachable", func(_ *testing.T, f IdentityProviderFixture) bool { return f.SetReachable != nil })
	checkAll(t, open, []obligation[IdentityProviderFixture]{
		{name: "enroll", check: identityEnrolled},
		{name: "enroll again", check: identityEnrolledAgain},
		{name: "devices enroll at once", check: identityEnrolledTogether},
		{name: "key that is not usable", check: identityBadKey},
		{name: "rotate", check: identityRotated},
		{name: "unknown device is not found", check: identityUnknown},
		{name: "revoke", check: identityRevoked},
		{name: "restore", check: identityRestored},
		{name: "key expires", check: identityExpired},
		{name: "operator's token", check: identityToken},
		{name: "provider that cannot be reached is unavailable", check: identityUnreachable, needs: reach},
	})
}

// newKey returns a key pair, the public half in PKIX PEM.
func newKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// inAYear is when keys expire, in whole seconds.
func inAYear() time.Time { return time.Now().Add(365 * 24 * time.Hour).UTC().Truncate(time.Second) }

func enroll(t *testing.T, f IdentityProviderFixture, device contracts.DeviceID) (domain.DeviceCredential, *ecdsa.PrivateKey) {
	t.Helper()
	key, public := newKey(t)
	credential, err := f.Provider.Enroll(t.Context(), device, public, inAYear())
	require.NoError(t, err)
	return credential, key
}

func identityEnrolled(t *testing.T, f IdentityProviderFixture) {
	key, public := newKey(t)
	expires := inAYear()
	credential, err := f.Provider.Enroll(t.Context(), "pi-1", public, expires)
	require.NoError(t, err)
	require.Equal(t, contracts.DeviceID("pi-1"), credential.Device)
	require.NotEmpty(t, credential.UserID)
	require.NotEmpty(t, credential.KeyID)
	require.WithinDuration(t, expires, credential.ExpiresAt, 0)
	require.NoError(t, f.SignIn(t, credential, key))
	other, _ := newKey(t)
	require.Error(t, f.SignIn(t, credential, other), "another key is of no use")

	second, _ := enroll(t, f, "pi-2")
	require.NotEqual(t, credential.UserID, second.UserID)
}

func identityEnrolledAgain(t *testing.T, f IdentityProviderFixture) {
	key, public := newKey(t)
	first, err := f.Provider.Enroll(t.Context(), "pi-1", public, inAYear())
	require.NoError(t, err)
	again, err := f.Provider.Enroll(t.Context(), "pi-1", public, inAYear())
	require.NoError(t, err)
	require.Equal(t, first.UserID, again.UserID)
	require.NoError(t, f.SignIn(t, again, key))
	third, otherKey := enroll(t, f, "pi-1")
	require.Equal(t, first.UserID, third.UserID)
	require.NoError(t, f.SignIn(t, third, otherKey))
}

func identityEnrolledTogether(t *testing.T, f IdentityProviderFixture) {
	const callers = 6
	_, public := newKey(t)
	users := make([]string, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			credential, err := f.Provider.Enroll(t.Context(), "pi-1", public, inAYear())
			assert.NoError(t, err)
			users[i] = credential.UserID
		})
	}
	group.Wait()
	for _, user := range users {
		require.Equal(t, users[0], user)
	}
}

func identityBadKey(t *testing.T, f IdentityProviderFixture) {
	junk := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("junk")}))
	for _, public := range []string{"", "not a key", junk} {
		_, err := f.Provider.Enroll(t.Context(), "pi-1", public, inAYear())
		require.ErrorIs(t, err, domain.ErrInvalid)
	}
	enroll(t, f, "pi-1")
	_, err := f.Provider.Rotate(t.Context(), "pi-1", junk, inAYear())
	require.ErrorIs(t, err, domain.ErrInvalid)
}

func identityRotated(t *testing.T, f IdentityProviderFixture) {
	old, oldKey := enroll(t, f, "pi-1")
	spare, spareKey := enroll(t, f, "pi-1")
	key, public := newKey(t)
	for range 2 { // idempotent
		rotated, err := f.Provider.Rotate(t.Context(), "pi-1", public, inAYear())
		require.NoError(t, err)
		require.Equal(t, old.UserID, rotated.UserID)
		require.NoError(t, f.SignIn(t, rotated, key))
	}
	require.Error(t, f.SignIn(t, old, oldKey), "all other keys are removed")
	require.Error(t, f.SignIn(t, spare, spareKey), "all other keys are removed")
}

func identityUnknown(t *testing.T, f IdentityProviderFixture) {
	_, public := newKey(t)
	_, err := f.Provider.Rotate(t.Context(), "pi-1", public, inAYear())
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.ErrorIs(t, f.Provider.Revoke(t.Context(), "pi-1"), domain.ErrNotFound)
}

func identityRevoked(t *testing.T, f IdentityProviderFixture) {
	credential, key := enroll(t, f, "pi-1")
	other, otherKey := enroll(t, f, "pi-2")
	require.NoError(t, f.SignIn(t, credential, key))
	for range 2 { // idempotent
		require.NoError(t, f.Provider.Revoke(t.Context(), "pi-1"))
		require.Error(t, f.SignIn(t, credential, key))
	}
	_, public := newKey(t)
	_, err := f.Provider.Enroll(t.Context(), "pi-1", public, inAYear())
	require.ErrorIs(t, err, domain.ErrPermissionDenied)
	require.NoError(t, f.SignIn(t, other, otherKey), "the others are untouched")
}

func identityRestored(t *testing.T, f IdentityProviderFixture) {
	old, oldKey := enroll(t, f, "pi-1")
	require.NoError(t, f.Provider.Revoke(t.Context(), "pi-1"))
	for range 2 { // idempotent
		require.NoError(t, f.Provider.Restore(t.Context(), "pi-1"))
		require.Error(t, f.SignIn(t, old, oldKey), "the old keys stay dead")
	}
	credential, key := enroll(t, f, "pi-1")
	require.Equal(t, old.UserID, credential.UserID)
	require.NoError(t, f.SignIn(t, credential, key))
}

func identityExpired(t *testing.T, f IdentityProviderFixture) {
	key, public := newKey(t)
	expires := time.Now().Add(2 * time.Second).UTC()
	credential, err := f.Provider.Enroll(t.Context(), "pi-1", public, expires)
	require.NoError(t, err)
	if err := f.SignIn(t, credential, key); time.Now().Before(expires) {
		require.NoError(t, err)
	}
	eventually(t, func() bool { return f.SignIn(t, credential, key) != nil }, "the key must be of no use once expired")
}

func identityToken(t *testing.T, f IdentityProviderFixture) {
	const callers = 6
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			token, err := f.Provider.Token(t.Context())
			assert.NoError(t, err)
			assert.NotEmpty(t, token.Value)
			assert.Greater(t, time.Until(token.ExpiresAt), 10*time.Second, "valid for a while")
		})
	}
	group.Wait()
}

func identityUnreachable(t *testing.T, f IdentityProviderFixture) {
	enroll(t, f, "pi-1")
	_, public := newKey(t)
	f.SetReachable(t, false)
	_, err := f.Provider.Enroll(t.Context(), "pi-2", public, inAYear())
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorIs(t, f.Provider.Revoke(t.Context(), "pi-1"), domain.ErrUnavailable)
	f.SetReachable(t, true)
	require.NoError(t, f.Provider.Revoke(t.Context(), "pi-1"))
}

// TokenVerifierFixture is a verifier that has not asked its provider yet.
type TokenVerifierFixture struct {
	Verifier domain.TokenVerifier
	// Issue makes a token of the provider. A negative lifetime makes one that
	// expired that long ago.
	Issue func(t *testing.T, principal domain.Principal, lifetime time.Duration) string
	// Foreign are tokens that are well formed but not of this provider for this
	// fleet, by what is wrong with them.
	Foreign func(t *testing.T) map[string]string
	// Subject returns the subject of a device's tokens.
	Subject func(device contracts.DeviceID) string
	// SetReachable takes the provider away and brings it back.
	SetReachable func(t *testing.T, reachable bool)
}

// TokenVerifier checks an implementation of domain.TokenVerifier.
func TokenVerifier(t *testing.T, open func(t *testing.T) TokenVerifierFixture) {
	t.Helper()
	foreign := named("Foreign", func(_ *testing.T, f TokenVerifierFixture) bool { return f.Foreign != nil })
	reach := named("SetReachable", func(_ *testing.T, f TokenVerifierFixture) bool { return f.SetReachable != nil })
	checkAll(t, open, []obligation[TokenVerifierFixture]{
		{name: "device", check: verifierDevice},
		{name: "people and their roles", check: verifierRoles},
		{name: "malformed", check: verifierMalformed},
		{name: "forged", check: verifierForged},
		{name: "expired", check: verifierExpired},
		{name: "from elsewhere", check: verifierForeign, needs: foreign},
		{name: "concurrent", check: verifierConcurrent},
		{name: "keys that are not known yet are unavailable", check: verifierNoKeys, needs: reach},
		{name: "keys that are known need no provider", check: verifierOffline, needs: reach},
	})
}

func deviceToken(t *testing.T, f TokenVerifierFixture, lifetime time.Duration) string {
	t.Helper()
	return f.Issue(t, domain.Principal{Subject: f.Subject("pi-1"), Device: "pi-1", Roles: []domain.Role{domain.RoleDevice}}, lifetime)
}

func verifierDevice(t *testing.T, f TokenVerifierFixture) {
	principal, err := f.Verifier.Verify(t.Context(), deviceToken(t, f, time.Hour))
	require.NoError(t, err)
	require.Equal(t, contracts.DeviceID("pi-1"), principal.Device)
	require.Equal(t, f.Subject("pi-1"), principal.Subject)
	require.Equal(t, []domain.Role{domain.RoleDevice}, principal.Roles)
	require.WithinDuration(t, time.Now().Add(time.Hour), principal.ExpiresAt, time.Minute)
}

func verifierRoles(t *testing.T, f TokenVerifierFixture) {
	for _, role := range []domain.Role{domain.RoleOperator, domain.RoleViewer} {
		principal, err := f.Verifier.Verify(t.Context(), f.Issue(t, domain.Principal{Subject: "ada", Roles: []domain.Role{role}}, time.Hour))
		require.NoError(t, err)
		require.Equal(t, "ada", principal.Subject)
		require.Empty(t, principal.Device)
		require.Equal(t, []domain.Role{role}, principal.Roles)
	}
}

func verifierMalformed(t *testing.T, f TokenVerifierFixture) {
	for _, token := range []string{"", ".", "..", "junk", "a.b.c", strings.Repeat("x", 100_000)} {
		_, err := f.Verifier.Verify(t.Context(), token)
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
	}
}

func verifierForged(t *testing.T, f TokenVerifierFixture) {
	token := deviceToken(t, f, time.Hour)
	for _, at := range []int{len(token) / 4, len(token) / 2, len(token) - 5} {
		forged := []byte(token)
		if forged[at] == 'A' {
			forged[at] = 'B'
		} else {
			forged[at] = 'A'
		}
		_, err := f.Verifier.Verify(t.Context(), string(forged))
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
		require.NotContains(t, err.Error(), token, "no token in an error")
	}
}

func verifierExpired(t *testing.T, f TokenVerifierFixture) {
	_, err := f.Verifier.Verify(t.Context(), deviceToken(t, f, -time.Hour))
	require.ErrorIs(t, err, domain.ErrUnauthenticated)
}

func verifierForeign(t *testing.T, f TokenVerifierFixture) {
	for what, token := range f.Foreign(t) {
		_, err := f.Verifier.Verify(t.Context(), token)
		require.ErrorIs(t, err, domain.ErrUnauthenticated, what)
	}
}

func verifierConcurrent(t *testing.T, f TokenVerifierFixture) {
	const callers = 8
	token := deviceToken(t, f, time.Hour)
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			_, err := f.Verifier.Verify(t.Context(), token)
			assert.NoError(t, err)
		})
	}
	group.Wait()
}

func verifierNoKeys(t *testing.T, f TokenVerifierFixture) {
	token := deviceToken(t, f, time.Hour)
	f.SetReachable(t, false)
	_, err := f.Verifier.Verify(t.Context(), token)
	require.ErrorIs(t, err, domain.ErrUnavailable)
	f.SetReachable(t, true)
	untilReachable(t, func() error {
		_, err := f.Verifier.Verify(t.Context(), token)
		return err
	})
}

func verifierOffline(t *testing.T, f TokenVerifierFixture) {
	token := deviceToken(t, f, time.Hour)
	_, err := f.Verifier.Verify(t.Context(), token)
	require.NoError(t, err)
	f.SetReachable(t, false)
	_, err = f.Verifier.Verify(t.Context(), token)
	require.NoError(t, err)
}
