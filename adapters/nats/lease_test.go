package nats_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
)

const testTTL = time.Second

// candidate is one process that would lead.
type candidate struct {
	cancel  context.CancelFunc
	leading chan bool
	ended   chan error
}

func stand(t *testing.T, conn *nats.Conn, identity string, lead func(ctx context.Context) error) *candidate {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &candidate{cancel: cancel, leading: make(chan bool, 100), ended: make(chan error, 1)}
	elector := nats.NewElector(conn, identity, nats.ElectorOptions{TTL: testTTL})
	go func() {
		c.ended <- elector.Lead(ctx, func(ctx context.Context) error {
			c.leading <- true
			defer func() { c.leading <- false }()
			return lead(ctx)
		})
	}()
	t.Cleanup(cancel)
	return c
}

func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (c *candidate) await(t *testing.T, leading bool) time.Time {
	t.Helper()
	select {
	case got := <-c.leading:
		require.Equal(t, leading, got)
		return time.Now()
	case <-time.After(patience):
		require.FailNow(t, "leadership did not change")
		return time.Time{}
	}
}

func (c *candidate) stop(t *testing.T) {
	t.Helper()
	c.cancel()
	require.NoError(t, <-c.ended)
}

func TestLeaseIsReleasedOnStop(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	a := stand(t, server.Operator(t), "a", untilDone)
	a.await(t, true)
	b := stand(t, server.Operator(t), "b", untilDone)
	select {
	case <-b.leading:
		require.Fail(t, "two lead")
	case <-time.After(2 * testTTL):
	}
	began := time.Now()
	a.stop(t)
	require.Less(t, b.await(t, true).Sub(began), testTTL, "a released lease need not expire")
	b.stop(t)
}

// A leader without a broker steps down before another can have taken over.
func TestLeaderStepsDownWhenCutOff(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	link := server.NewLink(t)
	a := stand(t, server.OperatorAt(t, link.URL()), "a", untilDone)
	a.await(t, true)
	b := stand(t, server.Operator(t), "b", untilDone)
	link.SetConnected(false)
	cut := time.Now()
	down := a.await(t, false)
	up := b.await(t, true)
	require.Less(t, down.Sub(cut), testTTL)
	require.Greater(t, up.Sub(down), time.Duration(0), "two led at once")
	require.GreaterOrEqual(t, up.Sub(cut), testTTL/2)
	link.SetConnected(true)
	b.stop(t)
	a.await(t, true)
	a.stop(t)
}

// A process that comes back under its name need not wait for its own lease.
func TestSameIdentityReacquiresAtOnce(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	link := server.NewLink(t)
	a := stand(t, server.OperatorAt(t, link.URL()), "a", untilDone)
	a.await(t, true)
	link.SetConnected(false)
	began := time.Now()
	again := stand(t, server.Operator(t), "a", untilDone)
	require.Less(t, again.await(t, true).Sub(began), testTTL/2)
	a.await(t, false)
	again.stop(t)
	a.stop(t)
}

// A leader goes on across a restart of the broker that is shorter than its
// lease.
func TestLeaderOutlivesARestart(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	conn := server.Operator(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	leading := make(chan struct{})
	ended := make(chan error, 1)
	var calls atomic.Int32
	elector := nats.NewElector(conn, "a", nats.ElectorOptions{TTL: 4 * time.Second})
	go func() {
		ended <- elector.Lead(ctx, func(ctx context.Context) error {
			if calls.Add(1) == 1 {
				close(leading)
			}
			return untilDone(ctx)
		})
	}()
	<-leading
	server.Restart()
	awaitLink(t, conn, true)
	select {
	case <-ended:
	case <-time.After(3 * time.Second):
	}
	require.EqualValues(t, 1, calls.Load())
	cancel()
	require.NoError(t, <-ended)
}
