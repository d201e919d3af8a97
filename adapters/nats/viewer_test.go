package nats_test

import (
	"encoding/json"
	"slices"
	"strings"
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

// A viewer can write nothing, neither directly nor through an answer.
func TestViewerCannotWrite(t *testing.T) {
	t.Parallel()
	arena := newArena(t)
	before := arena.others(t)
	arena.attacker = viewer(t, arena.server)
	for _, attempt := range append(speaking()[:6], asking()[0], asking()[1], asking()[2], asking()[3]) {
		t.Run(attempt.what, func(t *testing.T) {
			tried := slices.DeleteFunc(slices.Clone(attempt.tried), func(subject string) bool {
				return strings.HasPrefix(subject, nats.ViewPrefix) // that is what a viewer may
			})
			attempt.run(t, arena, tried)
		})
	}
	refusedPublications(t, arena, []string{
		contracts.ReportSubject(mallory, contracts.ReportState), contracts.HeartbeatSubject(mallory), contracts.SyncSubject(mallory),
		nats.ViewPrefix + ".STREAM.MSG.GET.KV_" + contracts.BucketDesiredState,
		nats.ViewPrefix + ".STREAM.MSG.GET.KV_" + contracts.BucketEnrollments,
		nats.ViewPrefix + ".STREAM.INFO.KV_" + contracts.BucketDevices,
		nats.ViewPrefix + ".CONSUMER.CREATE.KV_" + contracts.BucketDevices,
	})
	refusedSubscriptions(t, arena, []string{
		contracts.AllDesired, contracts.AllSyncs, "device-commands.>", contracts.InboxPrefix(victim) + ".>", "$SYS.>", "$KV.>", ">",
	})

	// The answer to a viewer's question stays in the viewers' account.
	spy, err := arena.server.Raw(t).SubscribeSync(">")
	require.NoError(t, err)
	elsewhere := []string{keyOfB, contracts.DesiredSubject(victim), contracts.CommandSubject(victim, contracts.VerbExec), "$KV.deployments.web"}
	for _, reply := range elsewhere {
		request := []byte(`{"last_by_subj":"$KV.devices.victim"}`)
		require.NoError(t, arena.PublishRequest(nats.ViewPrefix+".STREAM.MSG.GET.KV_devices", reply, request))
		answer, err := arena.Request(nats.ViewPrefix+".STREAM.MSG.GET.KV_devices", request, patience)
		require.NoError(t, err)
		require.Contains(t, string(answer.Data), "message", "the questions before were answered, too")
	}
	requireSilent(t, spy, elsewhere)
	require.Equal(t, before, arena.others(t))
}
