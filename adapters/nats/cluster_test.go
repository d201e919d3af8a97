package nats_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// A revoked device is disconnected from every server of a cluster, whichever
// the callout is connected to.
func TestRevocationInCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seed := func(name string) string { return dir + "/" + name + ".nk" }
	key := func(name string, kind nats.KeyKind) string {
		public, err := nats.EnsureKey(seed(name), kind)
		require.NoError(t, err)
		return public
	}
	config := nats.ServerConfig{
		Port: -1, StoreDir: dir, Issuer: key("issuer", nats.IssuerKey), Exchange: key("exchange", nats.ExchangeKey),
		CalloutUser: key("callout", nats.UserKey), SystemUser: key("system", nats.UserKey), Operators: []string{key("operator", nats.UserKey)},
	}
	servers := startCluster(t, config, 2)
	connect := func(name string) *nats.Conn {
		conn, err := nats.Connect(t.Context(), nats.Config{Servers: []string{servers[0].ClientURL()}, Credential: nats.SeedFile(seed(name)), FailFast: true})
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		return conn
	}
	keys, err := nats.LoadCalloutKeys(seed("issuer"), seed("exchange"))
	require.NoError(t, err)
	fleet, identity := memory.New(), memory.NewIdentity()
	registry, events := fleet.Devices(), fleet.Events()
	_, err = registry.Create(t.Context(), domain.FleetDevice{ID: "pi-1"})
	require.NoError(t, err)
	callout := nats.NewCallout(nats.CalloutConns{Auth: connect("callout"), System: connect("system")}, keys, identity, registry, events, nats.CalloutOptions{})
	background(t, callout.Run)
	<-callout.Serving()

	token := identity.Issue(principal("user-pi-1", "pi-1", domain.RoleDevice), time.Hour).Value
	closed := make(chan struct{}, len(servers))
	for _, s := range servers {
		// The other server may not know yet that there is a callout.
		require.Eventually(t, func() bool { return s.NumRoutes() > 0 && s.NumSubscriptions() > 0 }, patience, 10*time.Millisecond)
		conn, err := natsgo.Connect(s.ClientURL(), natsgo.Token(token), natsgo.NoReconnect(), natsgo.Timeout(90*time.Second),
			natsgo.ClosedHandler(func(*natsgo.Conn) { closed <- struct{}{} }))
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		require.Equal(t, s.ID(), conn.ConnectedServerId())
	}
	setRevoked(t, registry, "pi-1", true)
	for range servers {
		select {
		case <-closed:
		case <-time.After(patience):
			require.FailNow(t, "a connection of a revoked device is still there")
		}
	}
	for _, s := range servers {
		_, err := natsgo.Connect(s.ClientURL(), natsgo.Token(token))
		require.ErrorIs(t, err, natsgo.ErrAuthorization)
	}
}

// startCluster starts servers from one configuration, without streams.
func startCluster(t *testing.T, config nats.ServerConfig, size int) []*server.Server {
	t.Helper()
	var servers []*server.Server
	for i := range size {
		config.Name = fmt.Sprintf("node-%d", i)
		text, err := config.Conf()
		require.NoError(t, err)
		options := &server.Options{}
		require.NoError(t, options.ProcessConfigString(text))
		options.JetStream, options.NoSigs, options.NoLog = false, true, true
		options.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: -1}
		if i > 0 {
			route := servers[0].ClusterAddr()
			options.Routes = []*url.URL{{Scheme: "nats", Host: route.String()}}
		}
		s, err := server.NewServer(options)
		require.NoError(t, err)
		go s.Start() // Shutdown ends it
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		require.True(t, s.ReadyForConnections(patience))
		servers = append(servers, s)
	}
	return servers
}
