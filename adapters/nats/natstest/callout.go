package natstest

import (
	"context"
	"errors"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// tokenLifetime outlives any test.
const tokenLifetime = 12 * time.Hour

// Callout is the side of a Server that admits clients by tokens.
type Callout struct {
	// Identity issues and verifies the tokens.
	Identity *memory.Identity
	// Config is the broker's.
	Config nats.ServerConfig

	server  *Server
	running *nats.Callout
}

// newCallout makes the keys and the configuration.
func newCallout(s *Server, options Options) *Callout {
	s.tb.Helper()
	key := func(name string, kind nats.KeyKind) string {
		public, err := nats.EnsureKey(s.seed(name), kind)
		require.NoError(s.tb, err)
		return public
	}
	c := &Callout{server: s, Identity: memory.NewIdentity(), Config: nats.ServerConfig{
		Name:        "natstest",
		Port:        -1,
		StoreDir:    s.tb.TempDir(),
		SyncAlways:  options.Sync,
		TLS:         options.TLS,
		Issuer:      key("issuer", nats.IssuerKey),
		Exchange:    key("exchange", nats.ExchangeKey),
		CalloutUser: key("callout", nats.UserKey),
		SystemUser:  key("system", nats.UserKey),
		Operators:   []string{key("operator", nats.UserKey)},
	}}
	if options.PlainCallout {
		c.Config.Exchange = ""
	}
	return c
}

// Run runs another instance of the callout until the returned function is
// called, or the test ends.
func (c *Callout) Run(tb testing.TB, verifier domain.TokenVerifier, options nats.CalloutOptions) (callout *nats.Callout, stop func()) {
	tb.Helper()
	conns := nats.CalloutConns{Auth: c.user(tb, "callout"), System: c.user(tb, "system")}
	exchange := c.server.seed("exchange")
	if c.Config.Exchange == "" {
		exchange = ""
	}
	keys, err := nats.LoadCalloutKeys(c.server.seed("issuer"), exchange)
	require.NoError(tb, err)
	operator := c.server.Operator(tb)
	callout = nats.NewCallout(conns, keys, verifier, nats.NewDeviceRegistry(operator), nats.NewEventLog(operator), options)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	ended := make(chan error, 1)
	go func() { ended <- callout.Run(ctx) }()
	stop = func() {
		cancel()
		if err, ok := <-ended; ok {
			close(ended)
			if err != nil {
				tb.Errorf("callout: %v", err)
			}
		}
	}
	tb.Cleanup(stop)
	select {
	case <-callout.Serving():
	case <-time.After(patience):
		require.FailNow(tb, "the callout does not serve")
	}
	return callout, stop
}

// Stats are those of the first instance.
func (c *Callout) Stats() nats.CalloutStats { return c.running.Stats() }

// user returns a connection of one of the users that need no callout.
func (c *Callout) user(tb testing.TB, name string) *nats.Conn {
	tb.Helper()
	return c.server.connect(tb, nats.Config{
		Servers: []string{c.server.URL()}, Name: name, Credential: nats.SeedFile(c.server.seed(name)),
		ReconnectWait: 10 * time.Millisecond,
	})
}

// register makes a device known.
func (c *Callout) register(device contracts.DeviceID) {
	c.server.tb.Helper()
	operator := c.server.Operator(c.server.tb)
	defer operator.Close()
	_, err := nats.NewDeviceRegistry(operator).Create(c.server.tb.Context(), domain.FleetDevice{ID: device, RegisteredAt: time.Now()})
	if !errors.Is(err, domain.ErrAlreadyExists) {
		require.NoError(c.server.tb, err)
	}
}

// Token returns a token of a device that is valid for hours.
func (c *Callout) Token(device contracts.DeviceID) domain.Token {
	return c.Identity.Issue(domain.Principal{
		Subject: "user-" + string(device), Device: device, Roles: []domain.Role{domain.RoleDevice},
	}, tokenLifetime)
}

// tokens is a source of one device's tokens, each of which serves for long.
type tokens struct {
	callout *Callout
	device  contracts.DeviceID
	last    domain.Token
}

func (t *tokens) Token(context.Context) (domain.Token, error) {
	if time.Until(t.last.ExpiresAt) < tokenLifetime/2 {
		t.last = t.callout.Token(t.device)
	}
	return t.last, nil
}

// RawToken returns a connection of nats.go with a token.
func (c *Callout) RawToken(tb testing.TB, token string, options ...natsgo.Option) (*natsgo.Conn, error) {
	tb.Helper()
	options = append([]natsgo.Option{natsgo.Token(token), natsgo.Timeout(patience)}, options...)
	if c.server.options.CAFile != "" {
		options = append(options, natsgo.RootCAs(c.server.options.CAFile))
	}
	conn, err := natsgo.Connect(c.server.URL(), options...)
	if err == nil {
		tb.Cleanup(conn.Close)
	}
	return conn, err
}
