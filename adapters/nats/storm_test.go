package nats_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// All devices come back at once after a restart of the broker, with the tokens
// that they have, and none is shut out. `make bench` does so with thousands.
func TestReconnectStorm(t *testing.T) {
	t.Parallel()
	const fleet = 300
	server := natstest.Start(t, natstest.Options{Callout: true})
	registry := nats.NewDeviceRegistry(server.Operator(t))
	conns := make([]*nats.Conn, fleet)
	for i := range conns {
		device := contracts.DeviceID(fmt.Sprintf("d-%03d", i))
		_, err := registry.Create(t.Context(), domain.FleetDevice{ID: device})
		require.NoError(t, err)
		conns[i], err = nats.Connect(t.Context(), nats.Config{
			Servers: []string{server.URL()}, Credential: nats.TokenCredential(fixedToken(server.Callout.Token(device))),
			InboxPrefix: contracts.InboxPrefix(device), ReconnectJitter: time.Millisecond,
		})
		require.NoError(t, err)
		t.Cleanup(conns[i].Close)
	}
	awaitAll(t, conns)
	server.Stop()
	for _, conn := range conns {
		awaitLink(t, conn, false)
	}
	server.Start()
	awaitAll(t, conns)
	stats := server.Callout.Stats()
	require.GreaterOrEqual(t, stats.Admitted[domain.RoleDevice], uint64(2*fleet))
	for reason, count := range stats.Denied {
		require.Zero(t, count, reason)
	}
}

// awaitAll waits for longer than the broker waits for a callout that is not
// there yet.
func awaitAll(t *testing.T, conns []*nats.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var waiting sync.WaitGroup
	for _, conn := range conns {
		waiting.Go(func() { assert.NoError(t, conn.AwaitConnection(ctx)) })
	}
	waiting.Wait()
}
