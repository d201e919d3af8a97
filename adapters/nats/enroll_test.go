package nats_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// runService runs a service until the test ends.
func runService(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

// enrolling is a broker where devices can enroll, at two instances.
type enrolling struct {
	server   *natstest.Server
	conn     *nats.Conn
	issuer   *nats.TokenIssuer
	services []*nats.EnrollmentService
}

func startEnrolling(t *testing.T) *enrolling {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	e := &enrolling{server: natstest.Start(t, natstest.Options{})}
	e.conn = e.server.Operator(t)
	runService(t, nats.NewTokenService(e.server.Operator(t), enrollment.NewIssuer(key)).Run)
	e.issuer = nats.NewTokenIssuer(e.conn)
	identity := memory.NewIdentity()
	for range 2 {
		conn := e.server.Operator(t)
		engine := enrollment.New(enrollment.Capabilities{
			Intents: nats.NewEnrollmentStore(conn), Devices: nats.NewDeviceRegistry(conn), Minter: identity, Events: nats.NewEventLog(conn),
		}, enrollment.Fleet{
			Issuer: "https://id.example", ProjectID: "1", Servers: []string{e.server.URL()}, SigningKeys: []ed25519.PublicKey{public},
		}, enrollment.Options{})
		service := nats.NewEnrollmentService(conn, engine, nats.EnrollmentServiceOptions{})
		runService(t, service.Run)
		e.services = append(e.services, service)
	}
	require.Eventually(t, func() bool {
		_, err := e.issuer.IssueToken(t.Context(), "pi", time.Now().Add(time.Hour))
		return err == nil
	}, patience, 10*time.Millisecond)
	return e
}

func (e *enrolling) invite(t *testing.T, device contracts.DeviceID) string {
	t.Helper()
	ticket, err := enrollment.Prepare(t.Context(), e.issuer, enrollment.Invitation{Device: device, Lifetime: time.Hour})
	require.NoError(t, err)
	_, err = ticket.Store(t.Context(), nats.NewEnrollmentStore(e.conn), false)
	require.NoError(t, err)
	return ticket.Token
}

// enroller is the connection of a device that has a token.
func (e *enrolling) enroller(t *testing.T, token string) *nats.Enroller {
	t.Helper()
	conn, err := nats.Connect(t.Context(), nats.Config{
		Servers: []string{e.server.URL()}, Credential: e.server.OperatorCredential(),
		InboxPrefix: contracts.EnrollmentInboxPrefix(token), FailFast: true,
	})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return nats.NewEnroller(conn)
}

func enrollRequest(t *testing.T, device contracts.DeviceID, token string) contracts.EnrollRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return contracts.EnrollRequest{
		Device: device, Token: token,
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}
}

func TestEnrollOverTheBroker(t *testing.T) {
	t.Parallel()
	e := startEnrolling(t)
	token := e.invite(t, "pi-1")
	enroller, request := e.enroller(t, token), enrollRequest(t, "pi-1", token)
	require.Eventually(t, func() bool { // the services may not have subscribed yet
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		reply, err := enroller.Enroll(ctx, request)
		return err == nil && reply.State == contracts.EnrollmentDone && reply.Credential.UserID != ""
	}, patience, 10*time.Millisecond)
	device, err := nats.NewDeviceRegistry(e.conn).Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, request.PublicKey, device.PublicKey)

	reply, err := enroller.Enroll(t.Context(), enrollRequest(t, "pi-1", token))
	require.NoError(t, err)
	require.Equal(t, contracts.EnrollmentDenied, reply.State, "the token was used")
}

func TestEnrollmentAnswersNowhereElse(t *testing.T) {
	t.Parallel()
	e := startEnrolling(t)
	token := e.invite(t, "pi-1")
	raw := e.server.Raw(t)
	body, err := contracts.Encode(enrollRequest(t, "pi-1", token))
	require.NoError(t, err)
	heard, err := raw.SubscribeSync("_INBOX_victim.>")
	require.NoError(t, err)
	refused := func() (n uint64) {
		for _, service := range e.services {
			n += service.Stats().Refused + service.Stats().Dropped
		}
		return n
	}
	for _, reply := range []string{"_INBOX_victim.x", "", contracts.EnrollmentInboxPrefix(token), contracts.EnrollmentInboxPrefix(token + "x")} {
		before := refused()
		require.Eventually(t, func() bool {
			require.NoError(t, raw.PublishMsg(&natsgo.Msg{Subject: contracts.EnrollSubject, Reply: reply, Data: body}))
			require.NoError(t, raw.Flush())
			return refused() > before
		}, patience, 10*time.Millisecond, "reply %q", reply)
	}
	// A forged token has an inbox of its own, and gets no answer even so.
	forged := enrollRequest(t, "pi-1", token[:len(token)-4]+"AAAA")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = e.enroller(t, forged.Token).Enroll(ctx, forged)
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.Zero(t, must(heard.Pending()))
	_, err = nats.NewDeviceRegistry(e.conn).Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
	for _, junk := range []string{"", "null", "{}", string(make([]byte, 20<<10))} {
		before := refused()
		require.NoError(t, raw.Publish(contracts.EnrollSubject, []byte(junk)))
		require.Eventually(t, func() bool { return refused() > before }, patience, 10*time.Millisecond)
	}
}

func must(n, _ int, err error) int {
	if err != nil {
		panic(err)
	}
	return n
}

func TestNobodyEnrolls(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	e := &enrolling{server: server, conn: server.Operator(t)}
	_, err := nats.NewTokenIssuer(e.conn).IssueToken(t.Context(), "pi-1", time.Now().Add(time.Hour))
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "fleet-operator run")
	_, err = e.enroller(t, "token").Enroll(t.Context(), enrollRequest(t, "pi-1", "token"))
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "fleet-operator callout")
}

func TestTokenServiceRefuses(t *testing.T) {
	t.Parallel()
	e := startEnrolling(t)
	_, err := e.issuer.IssueToken(t.Context(), "pi-1", time.Now().Add(-time.Hour))
	require.ErrorIs(t, err, domain.ErrInvalid)
	_, err = e.issuer.IssueToken(t.Context(), "No Name", time.Now().Add(time.Hour))
	require.ErrorIs(t, err, domain.ErrInvalid)
	for _, junk := range []string{"", "null", "{}"} {
		msg, err := e.server.Raw(t).Request(contracts.EnrollTokenSubject, []byte(junk), patience)
		require.NoError(t, err)
		reply, err := contracts.Decode[contracts.CommandReply](msg.Data)
		require.NoError(t, err)
		require.Equal(t, "Invalid", reply.Error.Kind)
	}
}
