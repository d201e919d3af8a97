package nats

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// TestLateRequestsAreTold: with a clock that is wrong nobody gets in, and nothing
// else would say why.
func TestLateRequestsAreTold(t *testing.T) {
	t.Parallel()
	codec := newCodec(t)
	a := newAsker(t)
	a.claims.Expires = time.Now().Add(-time.Hour).Unix()
	var log bytes.Buffer
	c := NewCallout(CalloutConns{}, CalloutKeys(codec), memory.NewIdentity(), memory.New().Devices(), memory.New().Events(),
		CalloutOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		c.answer(t.Context(), &nats.Msg{Header: a.header, Data: a.ask(t, codec)})
	}
	require.EqualValues(t, 3, c.Stats().Late)
	require.Equal(t, 1, strings.Count(log.String(), "clocks of broker and callout"), log.String())
}

// outages is a registry that cannot be followed, then can, then cannot again.
type outages struct {
	domain.DeviceRegistry
	calls int
	done  func()
}

func (o *outages) Watch(_ context.Context, _ domain.Revision, handle func(domain.DeviceChange) error) error {
	o.calls++
	switch o.calls {
	case 3:
		if err := handle(domain.DeviceChange{Kind: domain.ChangeCaughtUp}); err != nil {
			return err
		}
	case 5:
		o.done()
		return nil
	}
	return domain.Errorf(domain.ErrUnavailable, "away")
}

// TestEveryOutageOfTheRegistryIsTold, and once.
func TestEveryOutageOfTheRegistryIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var log bytes.Buffer
		c := NewCallout(CalloutConns{}, CalloutKeys(newCodec(t)), memory.NewIdentity(), &outages{done: cancel}, memory.New().Events(),
			CalloutOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, c.watchRegistry(ctx, make(chan struct{})))
		require.Equal(t, 2, strings.Count(log.String(), "cannot be followed"), log.String())
	})
}
