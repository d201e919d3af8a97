package nats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// shortTokens is a source of a device's tokens of a few seconds.
type shortTokens struct {
	server   *natstest.Server
	lifetime time.Duration
	asked    atomic.Int64
	away     atomic.Bool
}

func (s *shortTokens) Token(context.Context) (domain.Token, error) {
	s.asked.Add(1)
	if s.away.Load() {
		return domain.Token{}, domain.Errorf(domain.ErrUnavailable, "the provider is away")
	}
	return s.server.Callout.Identity.Issue(principal("user-pi-1", "pi-1", domain.RoleDevice), s.lifetime), nil
}

// A connection outlives its tokens, and no desired state is lost on the way.
func TestTokenRenewal(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	serveSync(t, server)
	server.Device(t, "pi-1").Close()
	tokens := &shortTokens{server: server, lifetime: 3 * time.Second}
	device, err := nats.Connect(t.Context(), nats.Config{
		Servers: []string{server.URL()}, Credential: nats.TokenCredential(tokens), InboxPrefix: contracts.InboxPrefix("pi-1"),
	})
	require.NoError(t, err)
	defer device.Close()

	received := make(chan uint64, 1000)
	var held atomic.Uint64
	background(t, func(ctx context.Context) error {
		return nats.NewDesiredStateSource(device, "pi-1").Follow(ctx, held.Load, func(envelope []byte) {
			var signed struct{ Document struct{ Generation uint64 } }
			if json.Unmarshal(envelope, &signed) == nil && signed.Document.Generation > held.Load() {
				held.Store(signed.Document.Generation)
				received <- signed.Document.Generation
			}
		})
	})
	publisher := nats.NewDesiredStatePublisher(server.Operator(t))
	var generation uint64
	var revision domain.Revision
	for tokens.asked.Load() < 5 {
		generation++
		envelope := fmt.Appendf(nil, `{"document":{"device":"pi-1","generation":%d},"signature":{}}`, generation)
		result := publisher.Publish(t.Context(), []domain.DesiredDocument{{Device: "pi-1", Envelope: envelope, Revision: revision}})[0]
		require.NoError(t, result.Err)
		revision = result.Revision
		for got := uint64(0); got < generation; {
			select {
			case got = <-received:
			case <-time.After(patience):
				require.FailNow(t, "desired state was lost", "generation %d", generation)
			}
		}
	}
}

// With the provider away a cached token serves until it expires; then the link
// says why, and the broker is not bothered.
func TestTokenSourceIsAway(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	server.Device(t, "pi-1").Close()
	tokens := &shortTokens{server: server, lifetime: time.Hour}
	link := server.NewLink(t)
	device, err := nats.Connect(t.Context(), nats.Config{
		Servers: []string{link.URL()}, Credential: nats.TokenCredential(tokens), InboxPrefix: contracts.InboxPrefix("pi-1"),
		ReconnectWait: time.Millisecond, ReconnectJitter: time.Millisecond,
	})
	require.NoError(t, err)
	defer device.Close()
	awaitLink(t, device, true)

	tokens.away.Store(true)
	link.SetConnected(false)
	awaitLink(t, device, false)
	link.SetConnected(true)
	awaitLink(t, device, true)

	_, err = nats.Connect(t.Context(), nats.Config{
		Servers: []string{server.URL()}, Credential: nats.TokenCredential(tokens), FailFast: true,
	})
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "the provider is away")
	require.Zero(t, server.Callout.Stats().Denied[nats.DeniedNoToken])
}
