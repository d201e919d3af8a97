package enrollment_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// world is a fleet that devices can enroll with.
type world struct {
	fleet    *memory.Fleet
	identity *memory.Identity
	issuer   *enrollment.Issuer
	service  *enrollment.Service
	caps     enrollment.Capabilities
	trusted  []ed25519.PublicKey
}

func newWorld(t *testing.T, policy enrollment.Policy) *world {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	w := &world{
		fleet: memory.New(), identity: memory.NewIdentity(), issuer: enrollment.NewIssuer(key),
		trusted: []ed25519.PublicKey{public},
	}
	w.caps = enrollment.Capabilities{
		Intents: w.fleet.Enrollments(), Devices: w.fleet.Devices(), Minter: w.identity, Events: w.fleet.Events(),
	}
	w.service = w.serve(w.caps, policy)
	return w
}

func (w *world) serve(caps enrollment.Capabilities, policy enrollment.Policy) *enrollment.Service {
	options := enrollment.Options{}
	if policy != nil {
		options.Policy = func() enrollment.Policy { return policy }
	}
	return enrollment.New(caps, enrollment.Fleet{
		Issuer: "https://id.example", ProjectID: "318", Servers: []string{"tls://nats.example:4222"}, SigningKeys: w.trusted,
	}, options)
}

func (w *world) invite(t *testing.T, invitation enrollment.Invitation) string {
	t.Helper()
	if invitation.Lifetime == 0 {
		invitation.Lifetime = time.Hour
	}
	ticket, err := enrollment.Prepare(t.Context(), w.issuer, invitation)
	require.NoError(t, err)
	_, err = ticket.Store(t.Context(), w.fleet.Enrollments(), true)
	require.NoError(t, err)
	return ticket.Token
}

func (w *world) ask(t *testing.T, device contracts.DeviceID, token string, key *ecdsa.PrivateKey) contracts.EnrollReply {
	t.Helper()
	reply, err := w.service.Enroll(t.Context(), request(t, device, token, key))
	require.NoError(t, err)
	require.NoError(t, reply.Validate())
	return reply
}

func request(t *testing.T, device contracts.DeviceID, token string, key *ecdsa.PrivateKey) contracts.EnrollRequest {
	t.Helper()
	return contracts.EnrollRequest{
		Device: device, Token: token, PublicKey: publicPEM(t, &key.PublicKey),
		Inventory: contracts.Inventory{Serial: "serial-" + string(device), MachineID: "machine-" + string(device)},
	}
}

// signsIn reports whether the provider accepts the key.
func (w *world) signsIn(t *testing.T, device contracts.DeviceID, key *ecdsa.PrivateKey) bool {
	t.Helper()
	_, err := w.identity.DeviceToken(t.Context(), device, &key.PublicKey)
	return err == nil
}

// events returns the kinds and reasons of what happened to a device.
func (w *world) events(t *testing.T, device contracts.DeviceID) []string {
	t.Helper()
	var all []string
	require.NoError(t, w.fleet.Events().Read(t.Context(), domain.EventQuery{Device: device}, func(e contracts.Event) error {
		all = append(all, strings.TrimSpace(string(e.Kind)+" "+e.Reason))
		return nil
	}))
	return all
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func publicPEM(t *testing.T, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestApprovedBeforehand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.invite(t, enrollment.Invitation{Device: "pi-1", Labels: contracts.Labels{"site": "paris"}})
	key := newKey(t)
	reply := w.ask(t, "pi-1", token, key)
	require.Equal(t, contracts.EnrollmentDone, reply.State)
	require.Equal(t, "https://id.example", reply.Credential.Issuer)
	require.Equal(t, []string{contracts.FormatPublicKey(w.trusted[0])}, reply.Credential.SigningKeys)
	require.Regexp(t, `^SHA256:[A-Za-z0-9+/]{43}$`, enrollment.Fingerprint(publicPEM(t, &key.PublicKey)))
	require.Empty(t, enrollment.Fingerprint("junk"))
	require.WithinDuration(t, time.Now().Add(365*24*time.Hour), reply.Credential.KeyExpiresAt, time.Minute)
	require.True(t, w.signsIn(t, "pi-1", key))

	device, err := w.fleet.Devices().Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, contracts.Labels{"site": "paris"}, device.Labels)
	require.Equal(t, publicPEM(t, &key.PublicKey), device.PublicKey)

	require.Equal(t, reply, w.ask(t, "pi-1", token, key), "whoever lost the answer gets it again")
	require.Equal(t, []string{"DeviceEnrolled"}, w.events(t, "pi-1"))
}

func TestManualApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.invite(t, enrollment.Invitation{Device: "pi-1", Manual: true})
	key := newKey(t)
	for range 2 {
		reply := w.ask(t, "pi-1", token, key)
		require.Equal(t, contracts.EnrollmentReview, reply.State)
		require.Contains(t, reply.Reason, "a person has to approve it")
	}
	_, err := enrollment.Deny(t.Context(), w.fleet.Enrollments(), "pi-1", "not ours")
	require.NoError(t, err)
	reply := w.ask(t, "pi-1", token, key)
	require.Equal(t, contracts.EnrollReply{State: contracts.EnrollmentDenied, Reason: "not ours"}, reply)
	require.False(t, w.signsIn(t, "pi-1", key))

	for range 2 {
		_, err = enrollment.Approve(t.Context(), w.fleet.Enrollments(), "pi-1")
		require.NoError(t, err)
	}
	require.Equal(t, contracts.EnrollmentDenied, w.ask(t, "pi-1", token, newKey(t)).State, "approved is the key that asked")
	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", token, key).State)
	require.Equal(t, []string{"EnrollmentRequested Review", "EnrollmentRefused TokenUsed", "DeviceEnrolled"}, w.events(t, "pi-1"))

	_, err = enrollment.Approve(t.Context(), w.fleet.Enrollments(), "pi-1")
	require.ErrorIs(t, err, domain.ErrConflict)
	_, err = enrollment.Deny(t.Context(), w.fleet.Enrollments(), "pi-1", "")
	require.ErrorIs(t, err, domain.ErrConflict)
	_, err = enrollment.Approve(t.Context(), w.fleet.Enrollments(), "pi-2")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

func TestPolicyApproves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, enrollment.Rules{Serials: enrollment.List{"serial-pi-1": "", "serial-pi-2": "pi-3"}})
	one, two := w.invite(t, enrollment.Invitation{Device: "pi-1", Manual: true}), w.invite(t, enrollment.Invitation{Device: "pi-2", Manual: true})
	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", one, newKey(t)).State)
	require.Equal(t, []string{"EnrollmentApproved Policy", "DeviceEnrolled"}, w.events(t, "pi-1"))
	reply := w.ask(t, "pi-2", two, newKey(t))
	require.Equal(t, contracts.EnrollmentReview, reply.State)
	require.Contains(t, reply.Reason, `serial number "serial-pi-2" not listed`)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.invite(t, enrollment.Invitation{Device: "pi-1"})
	key := newKey(t)

	_, err := w.service.Enroll(t.Context(), request(t, "pi-2", token, key))
	require.ErrorIs(t, err, domain.ErrPermissionDenied, "another device's token")
	require.Equal(t, []string{"EnrollmentRefused TokenOfAnotherDevice"}, w.events(t, "pi-2"))

	forger := newWorld(t, nil)
	_, err = w.service.Enroll(t.Context(), request(t, "pi-1", forger.invite(t, enrollment.Invitation{Device: "pi-1"}), key))
	require.ErrorIs(t, err, domain.ErrUnauthenticated, "signed by another key")
	_, err = w.service.Enroll(t.Context(), request(t, "pi-1", token[:len(token)-4]+"AAAA", key))
	require.ErrorIs(t, err, domain.ErrUnauthenticated, "forged")
	_, err = w.service.Enroll(t.Context(), contracts.EnrollRequest{Device: "pi-1"})
	require.ErrorIs(t, err, domain.ErrInvalid)

	unsuited, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for _, public := range []string{"junk", publicPEM(t, &unsuited.PublicKey)} {
		r := request(t, "pi-1", token, key)
		r.PublicKey = public
		reply, err := w.service.Enroll(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, contracts.EnrollmentDenied, reply.State)
		require.Contains(t, reply.Reason, "P-256")
	}

	ticket, err := enrollment.Prepare(t.Context(), w.issuer, enrollment.Invitation{Device: "pi-9", Lifetime: time.Hour})
	require.NoError(t, err)
	require.Contains(t, w.ask(t, "pi-9", ticket.Token, key).Reason, "does not expect this device")

	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", token, key).State)
	require.Contains(t, w.ask(t, "pi-1", token, newKey(t)).Reason, "used with another key", "a token is for one key")
	require.Equal(t, []string{
		"EnrollmentRefused TokenForged", "EnrollmentRefused KeyNotUsable", "DeviceEnrolled", "EnrollmentRefused TokenUsed",
	}, w.events(t, "pi-1"))
}

// TestRefusalsDoNotFloodTheEvents: whoever has one token can name any device and
// send any forgery.
func TestRefusalsDoNotFloodTheEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	key := newKey(t)
	good := w.invite(t, enrollment.Invitation{Device: "pi-1"})
	for i := range 50 {
		device := contracts.DeviceID(fmt.Sprintf("victim-%d", i))
		_, err := w.service.Enroll(t.Context(), request(t, device, good, key))
		require.ErrorIs(t, err, domain.ErrPermissionDenied)
		_, err = w.service.Enroll(t.Context(), request(t, device, good+"x", key))
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
	}
	require.Len(t, w.events(t, ""), 2)
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		token := w.invite(t, enrollment.Invitation{Device: "pi-1", Lifetime: time.Hour, Manual: true})
		verifier := enrollment.NewVerifier(w.trusted)
		principal, err := verifier.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, contracts.DeviceID("pi-1"), principal.Device)
		require.Equal(t, []domain.Role{domain.RoleEnroll}, principal.Roles)
		require.WithinDuration(t, time.Now().Add(time.Hour), principal.ExpiresAt, time.Second)

		time.Sleep(time.Hour)
		_, err = verifier.Verify(t.Context(), token)
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
		require.ErrorContains(t, err, "expired")
		reply := w.ask(t, "pi-1", token, newKey(t))
		require.Equal(t, contracts.EnrollmentDenied, reply.State)
		require.Contains(t, reply.Reason, "expired")
		require.Equal(t, []string{"EnrollmentRefused TokenExpired"}, w.events(t, "pi-1"))
		_, err = enrollment.Approve(t.Context(), w.fleet.Enrollments(), "pi-1")
		require.ErrorIs(t, err, domain.ErrConflict)
	})
}

func TestEnrollAgainAfterLoss(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	lost, found := newKey(t), newKey(t)
	first := w.invite(t, enrollment.Invitation{Device: "pi-1", Labels: contracts.Labels{"site": "paris", "rack": "7"}})
	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", first, lost).State)

	second := w.invite(t, enrollment.Invitation{Device: "pi-1", Labels: contracts.Labels{"site": "rome"}})
	require.Contains(t, w.ask(t, "pi-1", first, lost).Reason, "a newer token")
	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", second, found).State)
	require.True(t, w.signsIn(t, "pi-1", found))
	require.False(t, w.signsIn(t, "pi-1", lost), "the old key dies")
	device, err := w.fleet.Devices().Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, contracts.Labels{"site": "rome", "rack": "7"}, device.Labels)
}

func TestRevokedDeviceIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	key := newKey(t)
	token := w.invite(t, enrollment.Invitation{Device: "pi-1"})
	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", token, key).State)
	require.NoError(t, w.identity.Revoke(t.Context(), "pi-1"))
	setRevoked := func(to bool) {
		_, err := domain.UpdateDevice(t.Context(), w.fleet.Devices(), "pi-1", func(d *domain.FleetDevice) error {
			d.Revoked = to
			return nil
		})
		require.NoError(t, err)
	}
	setRevoked(true)
	require.Contains(t, w.ask(t, "pi-1", token, key).Reason, "revoked")
	token = w.invite(t, enrollment.Invitation{Device: "pi-1"})
	require.Contains(t, w.ask(t, "pi-1", token, key).Reason, "revoked")

	setRevoked(false) // and nobody tells the provider
	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", token, key).State)
	require.True(t, w.signsIn(t, "pi-1", key))
}

// TestRevokedWhileItEnrolls: a revocation that comes between the steps wins.
func TestRevokedWhileItEnrolls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	key := newKey(t)
	caps := w.caps
	caps.Minter = revokingMinter{w.identity, w.fleet.Devices()}
	w.service = w.serve(caps, nil)
	token := w.invite(t, enrollment.Invitation{Device: "pi-1"})
	reply := w.ask(t, "pi-1", token, key)
	require.Equal(t, contracts.EnrollmentDenied, reply.State)
	require.Nil(t, reply.Credential)
	require.False(t, w.signsIn(t, "pi-1", key))
	require.NotContains(t, w.events(t, "pi-1"), "DeviceEnrolled")
}

// revokingMinter has a device revoked as soon as it has a key.
type revokingMinter struct {
	domain.DeviceCredentialMinter
	devices domain.DeviceRegistry
}

func (m revokingMinter) Enroll(ctx context.Context, device contracts.DeviceID, key string, expires time.Time) (domain.DeviceCredential, error) {
	minted, err := m.DeviceCredentialMinter.Enroll(ctx, device, key, expires)
	if err != nil {
		return minted, err
	}
	_, err = domain.UpdateDevice(ctx, m.devices, device, func(d *domain.FleetDevice) error { d.Revoked = true; return nil })
	return minted, err
}

// denyingMinter has a person deny the enrollment as soon as the device has a key.
// broken, when set, is what the provider answers from then on, once.
type denyingMinter struct {
	domain.DeviceCredentialMinter
	intents domain.EnrollmentStore
	broken  error
}

func (m *denyingMinter) Enroll(ctx context.Context, device contracts.DeviceID, key string, expires time.Time) (domain.DeviceCredential, error) {
	minted, err := m.DeviceCredentialMinter.Enroll(ctx, device, key, expires)
	if err != nil {
		return minted, err
	}
	_, err = enrollment.Deny(ctx, m.intents, device, "not ours")
	return minted, err
}

func (m *denyingMinter) Revoke(ctx context.Context, device contracts.DeviceID) error {
	if err := m.broken; err != nil {
		m.broken = nil
		return err
	}
	return m.DeviceCredentialMinter.Revoke(ctx, device)
}

// TestDeniedWhileItEnrolls: a denial that comes between the steps wins, and no key
// of the device is left at the provider.
func TestDeniedWhileItEnrolls(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]bool{"first enrollment": false, "enrolled before": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			old, key := newKey(t), newKey(t)
			if again {
				require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", w.invite(t, enrollment.Invitation{Device: "pi-1"}), old).State)
			}
			caps := w.caps
			caps.Minter = &denyingMinter{DeviceCredentialMinter: w.identity, intents: w.caps.Intents}
			w.service = w.serve(caps, nil)
			token := w.invite(t, enrollment.Invitation{Device: "pi-1"})
			reply := w.ask(t, "pi-1", token, key)
			require.Equal(t, contracts.EnrollReply{State: contracts.EnrollmentDenied, Reason: "not ours"}, reply)
			require.False(t, w.signsIn(t, "pi-1", key), "the denied key is dead")
			require.False(t, w.signsIn(t, "pi-1", old))
			device, err := w.fleet.Devices().Get(t.Context(), "pi-1")
			require.NoError(t, err)
			require.Empty(t, device.PublicKey)

			// A person who thinks better of it is understood at once.
			_, err = enrollment.Approve(t.Context(), w.fleet.Enrollments(), "pi-1")
			require.NoError(t, err)
			w.service = w.serve(w.caps, nil)
			require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", token, key).State)
			require.True(t, w.signsIn(t, "pi-1", key))
		})
	}
}

// TestDeniedWhileItEnrollsAndTheProviderIsAway: what cannot be taken back at once
// is taken back later.
func TestDeniedWhileItEnrollsAndTheProviderIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		key := newKey(t)
		caps := w.caps
		caps.Minter = &denyingMinter{
			DeviceCredentialMinter: w.identity, intents: w.caps.Intents,
			broken: domain.Errorf(domain.ErrUnavailable, "the provider is away"),
		}
		w.service = w.serve(caps, nil)
		token := w.invite(t, enrollment.Invitation{Device: "pi-1"})
		require.Equal(t, contracts.EnrollmentDenied, w.ask(t, "pi-1", token, key).State)
		require.True(t, w.signsIn(t, "pi-1", key), "nobody could reach the provider")

		require.Equal(t, contracts.EnrollmentDenied, w.ask(t, "pi-1", token, key).State)
		require.True(t, w.signsIn(t, "pi-1", key), "whoever was at it might still be")
		time.Sleep(time.Minute)
		require.Equal(t, contracts.EnrollmentDenied, w.ask(t, "pi-1", token, key).State)
		require.False(t, w.signsIn(t, "pi-1", key))
	})
}

func TestRemovedDeviceIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	key := newKey(t)
	token := w.invite(t, enrollment.Invitation{Device: "pi-1"})
	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", token, key).State)
	device, err := w.fleet.Devices().Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.NoError(t, w.fleet.Devices().Delete(t.Context(), "pi-1", device.Revision))
	require.Contains(t, w.ask(t, "pi-1", token, key).Reason, "removed from the fleet")
}

func TestProviderIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	key := newKey(t)
	token := w.invite(t, enrollment.Invitation{Device: "pi-1"})
	w.identity.SetReachable(false)
	reply := w.ask(t, "pi-1", token, key)
	require.Equal(t, contracts.EnrollmentPending, reply.State, "the device shall ask again")
	require.NotEmpty(t, reply.Reason)
	w.identity.SetReachable(true)
	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", token, key).State)
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	store := w.fleet.Enrollments()
	first, err := enrollment.Prepare(t.Context(), w.issuer, enrollment.Invitation{Device: "pi-1", Lifetime: time.Hour})
	require.NoError(t, err)
	for _, changes := range []bool{true, false} {
		changed, err := first.Store(t.Context(), store, false)
		require.NoError(t, err)
		require.Equal(t, changes, changed)
	}
	resumed, err := enrollment.Resume(first.Token, enrollment.Invitation{Device: "pi-1"})
	require.NoError(t, err)
	require.Equal(t, first.Intent.TokenHash, resumed.Intent.TokenHash)
	require.Equal(t, first.Intent.ExpiresAt, resumed.Intent.ExpiresAt)
	changed, err := resumed.Store(t.Context(), store, false)
	require.NoError(t, err)
	require.False(t, changed)
	_, err = enrollment.Resume(first.Token, enrollment.Invitation{Device: "pi-2"})
	require.ErrorIs(t, err, domain.ErrInvalid)

	second, err := enrollment.Prepare(t.Context(), w.issuer, enrollment.Invitation{Device: "pi-1", Lifetime: time.Hour})
	require.NoError(t, err)
	_, err = second.Store(t.Context(), store, false)
	require.ErrorIs(t, err, domain.ErrAlreadyExists)
	changed, err = second.Store(t.Context(), store, true)
	require.NoError(t, err)
	require.True(t, changed)

	for _, lifetime := range []time.Duration{-time.Second, 0, enrollment.MaxTokenLifetime + time.Hour} {
		_, err = enrollment.Prepare(t.Context(), w.issuer, enrollment.Invitation{Device: "pi-1", Lifetime: lifetime})
		require.ErrorIs(t, err, domain.ErrInvalid)
	}
	_, err = enrollment.Prepare(t.Context(), w.issuer, enrollment.Invitation{Device: "No Name", Lifetime: time.Hour})
	require.ErrorIs(t, err, domain.ErrInvalid)
	_, err = enrollment.Prepare(t.Context(), liar{w.issuer}, enrollment.Invitation{Device: "pi-1", Lifetime: time.Hour})
	require.ErrorIs(t, err, domain.ErrInvalid)
}

// liar issues every token for another device.
type liar struct{ *enrollment.Issuer }

func (l liar) IssueToken(ctx context.Context, _ contracts.DeviceID, expires time.Time) (string, error) {
	return l.Issuer.IssueToken(ctx, "other", expires)
}
