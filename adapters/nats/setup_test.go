package nats_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestSetupIsIdempotent(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	conn := server.Operator(t)
	for range 2 {
		require.NoError(t, nats.Setup(t.Context(), conn, nats.SetupOptions{}))
	}
	js, err := jetstream.New(server.Raw(t))
	require.NoError(t, err)
	for _, bucket := range []string{
		contracts.BucketDesiredState, contracts.BucketDeployments, contracts.BucketDeploymentStatus,
		contracts.BucketDevices, contracts.BucketEnrollments, contracts.BucketLeases,
	} {
		_, err := js.KeyValue(t.Context(), bucket)
		require.NoError(t, err, "any NATS tool must see the bucket %s", bucket)
	}
}

// Each setting that a person may have changed is named, with what comes of it;
// dangerous ones stop the operator, and those that can be are corrected.
func TestSetupNamesDifferences(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		stream    string
		spoil     func(*jetstream.StreamConfig)
		says      string
		dangerous bool
		fixable   bool
	}{
		"too many per subject": {
			contracts.StreamReports, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 },
			"stream device-reports: MaxMsgsPerSubject is 5, must be 1", true, true,
		},
		"roll-up": {
			contracts.StreamReports, func(c *jetstream.StreamConfig) { c.AllowRollup = true },
			"AllowRollup is true, must be false: one message could empty", true, true,
		},
		"acknowledgements": {
			contracts.StreamReports, func(c *jetstream.StreamConfig) { c.NoAck = false },
			"NoAck is false, must be true: acknowledgements go to any subject", true, true,
		},
		"no republishing": {
			"KV_desired-state", func(c *jetstream.StreamConfig) { c.RePublish = nil },
			"RePublish is none, must be $KV.desired-state.* → fleet.desired.{{wildcard(1)}}", true, true,
		},
		"short memory": {
			"KV_deployments", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
			"MaxAge is 1h0m0s, must be 0s: stored data would be lost", true, true,
		},
		"message TTL": {
			contracts.StreamReports, func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
			"AllowMsgTTL is true, must be false", true, false,
		},
		"purge denied": {
			contracts.StreamReports, func(c *jetstream.StreamConfig) { c.DenyPurge = true },
			"DenyPurge is true, must be false", true, false,
		},
		"bounded bytes": {
			contracts.StreamEvents, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
			"", false, true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.Start(t, natstest.Options{})
			js, err := jetstream.New(server.Raw(t))
			require.NoError(t, err)
			stream, err := js.Stream(t.Context(), c.stream)
			require.NoError(t, err)
			config := stream.CachedInfo().Config
			c.spoil(&config)
			_, err = js.UpdateStream(t.Context(), config)
			require.NoError(t, err)

			conn := server.Operator(t)
			err = nats.Setup(t.Context(), conn, nats.SetupOptions{})
			if c.dangerous {
				require.ErrorIs(t, err, domain.ErrInvalid)
				require.ErrorContains(t, err, c.says)
			} else {
				require.NoError(t, err)
			}
			err = nats.Setup(t.Context(), conn, nats.SetupOptions{Fix: true})
			if !c.fixable {
				require.ErrorIs(t, err, domain.ErrInvalid)
				return
			}
			require.NoError(t, err)
			require.NoError(t, nats.Setup(t.Context(), conn, nats.SetupOptions{}))
			fixed, err := js.Stream(t.Context(), c.stream)
			require.NoError(t, err)
			require.Equal(t, stream.CachedInfo().Config, fixed.CachedInfo().Config)
		})
	}
}

func TestSetupWithoutBroker(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	conn := server.Operator(t)
	server.Stop()
	awaitLink(t, conn, false)
	require.ErrorIs(t, nats.Setup(t.Context(), conn, nats.SetupOptions{}), domain.ErrUnavailable)
}

// A store before the operator ever ran says so, and does not say "not found".
func TestStoreWithoutSetup(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Bare: true})
	conn := server.Operator(t)
	_, err := nats.NewDeviceRegistry(conn).Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.NotErrorIs(t, err, domain.ErrNotFound)
	require.ErrorContains(t, err, "start the operator once")
}
