package nats_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	mallory = contracts.DeviceID("mallory")
	victim  = contracts.DeviceID("victim")
)

// attacker is a raw connection with a device's valid credential.
type attacker struct {
	*natsgo.Conn
	refusals chan error
}

func attack(t *testing.T, server *natstest.Server) attacker {
	t.Helper()
	a := attacker{refusals: make(chan error, 100)}
	a.Conn = server.RawDevice(t, mallory,
		natsgo.CustomInboxPrefix(contracts.InboxPrefix(mallory)),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { a.refusals <- err }))
	return a
}

// requireRefused requires that the broker refused exactly what was just done.
func (a attacker) requireRefused(t *testing.T) {
	t.Helper()
	require.NoError(t, a.Flush())
	select {
	case err := <-a.refusals:
		require.ErrorIs(t, err, natsgo.ErrPermissionViolation)
	case <-time.After(patience):
		require.FailNow(t, "the broker must refuse it")
	}
}

// requireAllowed requires that the broker refused nothing: its answers come in
// order, so after a flush there is none to wait for.
func (a attacker) requireAllowed(t *testing.T) {
	t.Helper()
	require.NoError(t, a.Flush())
	select {
	case err := <-a.refusals:
		require.NoError(t, err)
	default:
	}
}

func publishFor(t *testing.T, conn *nats.Conn, device contracts.DeviceID, generation uint64) []byte {
	t.Helper()
	envelope := fmt.Appendf(nil, `{"document":{"device":%q,"generation":%d},"signature":{}}`, device, generation)
	results := nats.NewDesiredStatePublisher(conn).Publish(t.Context(), []domain.DesiredDocument{{Device: device, Envelope: envelope}})
	require.NoError(t, results[0].Err)
	return envelope
}

// A device may name any reply subject in its question; the answer must not go
// there.
func TestHostileReplySubject(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	operator := server.Operator(t)
	service := serveSync(t, server)
	own := publishFor(t, operator, mallory, 3)
	publishFor(t, operator, victim, 5)
	a := attack(t, server)
	spy, err := server.Raw(t).SubscribeSync(">")
	require.NoError(t, err)

	request, err := contracts.Encode(contracts.SyncRequest{})
	require.NoError(t, err)
	foreign := []string{
		contracts.DesiredSubject(victim),
		"$KV." + contracts.BucketDesiredState + "." + string(victim),
		contracts.InboxPrefix(victim) + ".x",
		contracts.InboxPrefix(mallory) + "-2.x",
		contracts.InboxPrefix(mallory),
		contracts.CommandSubject(victim, contracts.VerbExec),
		"_INBOX.x",
		"",
	}
	for _, reply := range foreign {
		require.NoError(t, a.PublishMsg(&natsgo.Msg{Subject: contracts.SyncSubject(mallory), Reply: reply, Data: request}))
	}
	require.Eventually(t, func() bool { return service.Stats().Refused == uint64(len(foreign)) }, patience, 5*time.Millisecond)

	// An honest question is answered; it comes after all others.
	answer, err := a.Request(contracts.SyncSubject(mallory), request, patience)
	require.NoError(t, err)
	require.JSONEq(t, string(own), string(answer.Data))
	require.EqualValues(t, 1, service.Stats().Answered)
	for {
		msg, err := spy.NextMsg(100 * time.Millisecond)
		if errors.Is(err, natsgo.ErrTimeout) {
			return
		}
		require.NoError(t, err)
		for _, reply := range foreign {
			require.False(t, reply != "" && msg.Subject == reply, "nothing may be published to %s", reply)
		}
	}
}

// What a device sends into its own streams must reach no others' data.
func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	honest := server.Device(t, victim)
	require.NoError(t, nats.NewObservedStateReporter(honest, victim).Report(t.Context(), contracts.DeviceReport{Sequence: 1}))
	require.NoError(t, nats.NewObservedStateReporter(honest, victim).Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))
	a := attack(t, server)
	raw := server.Raw(t)
	js, err := jetstream.New(raw)
	require.NoError(t, err)
	reports, err := js.Stream(t.Context(), contracts.StreamReports)
	require.NoError(t, err)
	heartbeats, err := js.Stream(t.Context(), contracts.StreamHeartbeats)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := heartbeats.GetLastMsgForSubject(t.Context(), contracts.HeartbeatSubject(victim))
		return err == nil
	}, patience, 5*time.Millisecond)

	for _, header := range []natsgo.Header{
		{"Nats-Rollup": {"all"}},
		{"Nats-Rollup": {"sub"}},
		{"Nats-TTL": {"1s"}},
		{"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {contracts.ReportSubject(victim, contracts.ReportState)}},
		{"Nats-Incr": {"+1"}},
		{"Nats-Batch-Id": {"x"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}},
	} {
		for _, subject := range []string{contracts.ReportSubject(mallory, contracts.ReportState), contracts.HeartbeatSubject(mallory)} {
			require.NoError(t, a.PublishMsg(&natsgo.Msg{Subject: subject, Header: header, Data: []byte("{}"), Reply: "$KV.deployments.web"}))
		}
	}
	// Subjects that are no report of ours do not fill the store.
	require.NoError(t, a.Publish("fleet.report.mallory.other", []byte("{}")))
	require.NoError(t, a.Publish("fleet.report.mallory.state.deep", []byte("{}")))
	a.requireAllowed(t)
	last := contracts.Heartbeat{Sequence: 77}
	data, err := json.Marshal(last)
	require.NoError(t, err)
	require.NoError(t, a.Publish(contracts.HeartbeatSubject(mallory), data))
	require.Eventually(t, func() bool {
		msg, err := heartbeats.GetLastMsgForSubject(t.Context(), contracts.HeartbeatSubject(mallory))
		return err == nil && string(msg.Data) == string(data)
	}, patience, 5*time.Millisecond)

	_, err = reports.GetLastMsgForSubject(t.Context(), contracts.ReportSubject(victim, contracts.ReportState))
	require.NoError(t, err, "the victim's report is still there")
	_, err = heartbeats.GetLastMsgForSubject(t.Context(), contracts.HeartbeatSubject(victim))
	require.NoError(t, err, "the victim's heartbeat is still there")
	info, err := reports.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	require.NoError(t, err)
	for subject := range info.State.Subjects {
		_, _, err := contracts.ParseReportSubject(subject)
		require.NoError(t, err)
	}
	deployments, err := js.KeyValue(t.Context(), contracts.BucketDeployments)
	require.NoError(t, err)
	_, err = deployments.Get(t.Context(), "web")
	require.ErrorIs(t, err, jetstream.ErrKeyNotFound, "no acknowledgement was written into a bucket")
}

// A key that the broker does not know is refused.
func TestStrangerIsRefused(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	other := natstest.Start(t, natstest.Options{Bare: true})
	_, err := nats.Connect(t.Context(), nats.Config{
		Servers: []string{server.URL()}, Credential: other.OperatorCredential(), FailFast: true,
	})
	require.ErrorIs(t, err, domain.ErrUnauthenticated)
}
