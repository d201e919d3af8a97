package nats_test

import (
	"encoding/json"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// viewer returns a connection of somebody who may read.
func viewer(t *testing.T, server *natstest.Server) attacker {
	t.Helper()
	token := server.Callout.Identity.Issue(principal("vera", "", domain.RoleViewer), time.Hour)
	a := attacker{refusals: make(chan error, 100)}
	var err error
	a.Conn, err = server.Callout.RawToken(t, token.Value,
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { a.refusals <- err }))
	require.NoError(t, err)
	return a
}

func TestViewerReads(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	v := viewer(t, server)
	heard, err := v.SubscribeSync(contracts.AllHeartbeats)
	require.NoError(t, err)
	v.requireAllowed(t)
	device := server.Device(t, "pi-1")
	require.NoError(t, nats.NewObservedStateReporter(device, "pi-1").Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 9}))
	msg, err := heard.NextMsg(patience)
	require.NoError(t, err)
	require.Equal(t, contracts.HeartbeatSubject("pi-1"), msg.Subject)

	get := func(stream, subject string) []byte {
		answer, err := v.Request(nats.ViewPrefix+".STREAM.MSG.GET."+stream, []byte(`{"last_by_subj":"`+subject+`"}`), patience)
		require.NoError(t, err)
		var found struct {
			Message struct {
				Data []byte `json:"data"`
			} `json:"message"`
		}
		require.NoError(t, json.Unmarshal(answer.Data, &found), string(answer.Data))
		return found.Message.Data
	}
	require.Contains(t, string(get("KV_"+contracts.BucketDevices, "$KV.devices.pi-1")), `"pi-1"`)
	require.Eventually(t, func() bool {
		return len(get(contracts.StreamHeartbeats, contracts.HeartbeatSubject("pi-1"))) > 0
	}, patience, 10*time.Millisecond)
}
