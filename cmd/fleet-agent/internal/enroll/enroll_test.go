package enroll_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/enroll"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/identity"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// story is a device that enrolls with a fleet in memory.
type story struct {
	t       *testing.T
	fleet   *memory.Fleet
	service domain.Enroller
	store   *identity.Store
	token   string
	key     ed25519.PrivateKey
	trusted []ed25519.PublicKey

	mu sync.Mutex
	// away, when set, is why the broker cannot be reached.
	away error
	said []string
}

func newStory(t *testing.T, manual bool) *story {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s := &story{t: t, fleet: memory.New(), store: identity.NewStore(t.TempDir(), nil), key: key, trusted: []ed25519.PublicKey{public}}
	s.serve(s.trusted)
	ticket, err := enrollment.Prepare(t.Context(), enrollment.NewIssuer(key), enrollment.Invitation{Device: "pi-1", Lifetime: time.Hour, Manual: manual})
	require.NoError(t, err)
	_, err = ticket.Store(t.Context(), s.fleet.Enrollments(), false)
	require.NoError(t, err)
	s.token = ticket.Token
	return s
}

func (s *story) serve(trusted []ed25519.PublicKey) {
	s.service = enrollment.New(enrollment.Capabilities{
		Intents: s.fleet.Enrollments(), Devices: s.fleet.Devices(), Minter: memory.NewIdentity(), Events: s.fleet.Events(),
	}, enrollment.Fleet{Issuer: "https://id.example", Servers: []string{"tls://broker.example:4222"}, SigningKeys: trusted}, enrollment.Options{})
}

func (s *story) goAway(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = why
}

func (s *story) run(ctx context.Context, noWait bool) (identity.Identity, error) {
	connect := func(context.Context) (domain.Enroller, func(), error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.service, func() {}, s.away
	}
	request := enroll.Request{Token: s.token, ServerCA: "PEM", NoWait: noWait}
	return enroll.Run(ctx, s.store, connect, request, func(text string) { s.said = append(s.said, text) })
}

func (s *story) heard() string { return strings.Join(s.said, "\n") }

func TestEnrollAtOnce(t *testing.T) {
	t.Parallel()
	s := newStory(t, false)
	enrolled, err := s.run(t.Context(), true)
	require.NoError(t, err)
	require.Equal(t, contracts.DeviceID("pi-1"), enrolled.Device)
	require.Equal(t, "PEM", enrolled.Credential.ServerCA, "what the broker was verified with is kept")
	loaded, err := s.store.Load()
	require.NoError(t, err)
	require.Equal(t, enrolled.Key, loaded.Key)
	require.Contains(t, s.heard(), "device pi-1, key SHA256:")
	require.NotContains(t, s.heard(), s.token)
}

func TestWaitsForAPersonAndSaysWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t, true)
		s.goAway(domain.Errorf(domain.ErrUnavailable, "no route"))
		ended := make(chan error, 1)
		go func() {
			_, err := s.run(t.Context(), false)
			ended <- err
		}()
		<-time.After(time.Minute)
		s.goAway(nil)
		<-time.After(2 * time.Minute)
		_, err := enrollment.Deny(t.Context(), s.fleet.Enrollments(), "pi-1", "unknown serial")
		require.NoError(t, err)
		<-time.After(5 * time.Minute)
		_, err = enrollment.Approve(t.Context(), s.fleet.Enrollments(), "pi-1")
		require.NoError(t, err)
		require.NoError(t, <-ended)
		require.Len(t, s.said, 4, "each reason is said once: %s", s.heard())
		require.Contains(t, s.said[1], "no route")
		require.Contains(t, s.said[2], "a person has to approve it")
		require.Contains(t, s.said[3], "refused: unknown serial")
	})
}

func TestInterruptedEnrollmentGoesOnWithItsKey(t *testing.T) {
	t.Parallel()
	s := newStory(t, true)
	_, err := s.run(t.Context(), true)
	require.ErrorContains(t, err, "a person has to approve it")
	_, err = enrollment.Approve(t.Context(), s.fleet.Enrollments(), "pi-1")
	require.NoError(t, err)
	_, err = s.run(t.Context(), true)
	require.NoError(t, err)
}

func TestTokenExpiresWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t, true)
		_, err := s.run(t.Context(), false)
		require.ErrorContains(t, err, "expired")
		_, err = s.store.Load()
		require.ErrorIs(t, err, identity.ErrNone)
	})
}

func TestCancelledWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := s.run(ctx, false)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	s := newStory(t, false)
	whole := s.token
	s.token = whole[:len(whole)-9]
	_, err := s.run(t.Context(), true)
	require.ErrorContains(t, err, "copy it again")
	require.NotContains(t, err.Error(), s.token)
	s.token = whole
	s.goAway(domain.Errorf(domain.ErrUnauthenticated, "authorization violation"))
	_, err = s.run(t.Context(), true)
	require.ErrorContains(t, err, "refuses the token")
	s.goAway(domain.Errorf(domain.ErrInvalid, "no such CA file"))
	_, err = s.run(t.Context(), false)
	require.ErrorIs(t, err, domain.ErrInvalid, "waiting would not help")
}

// TestForgedBroker: whoever answers in place of the fleet cannot make a device
// obey other keys than the one that signed its token.
func TestForgedBroker(t *testing.T) {
	t.Parallel()
	s := newStory(t, false)
	other, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s.service = forger{s.service, other}
	_, err = s.run(t.Context(), false)
	require.ErrorContains(t, err, "other signing keys")
	_, err = s.store.Load()
	require.ErrorIs(t, err, identity.ErrNone)
}

// TestForgedBrokerAddsAKey: nor can it have its own key trusted beside that one.
func TestForgedBrokerAddsAKey(t *testing.T) {
	t.Parallel()
	s := newStory(t, false)
	other, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s.service = adder{s.service, other}
	_, err = s.run(t.Context(), true)
	require.NoError(t, err)
	kept, err := s.store.Load()
	require.NoError(t, err)
	require.Equal(t, []string{contracts.FormatPublicKey(s.trusted[0])}, kept.Credential.SigningKeys)
	require.Contains(t, s.heard(), "not 1 more")
}

type adder struct {
	domain.Enroller
	key ed25519.PublicKey
}

func (a adder) Enroll(ctx context.Context, request contracts.EnrollRequest) (contracts.EnrollReply, error) {
	reply, err := a.Enroller.Enroll(ctx, request)
	reply.Credential.SigningKeys = append(reply.Credential.SigningKeys, contracts.FormatPublicKey(a.key))
	return reply, err
}

type forger struct {
	domain.Enroller
	key ed25519.PublicKey
}

func (f forger) Enroll(ctx context.Context, request contracts.EnrollRequest) (contracts.EnrollReply, error) {
	reply, err := f.Enroller.Enroll(ctx, request)
	reply.Credential.SigningKeys = []string{contracts.FormatPublicKey(f.key)}
	return reply, err
}
