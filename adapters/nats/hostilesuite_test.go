package nats_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
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

// securityDoc holds the table of attempts between two marks.
const (
	securityDoc = "../../docs/security.md"
	tableBegins = "<!-- attempts begin -->\n"
	tableEnds   = "<!-- attempts end -->"
)

// attempt is one row of the table: what a device with a valid token tries.
type attempt struct {
	what string
	// tried are subjects or forms, as they stand in the table.
	tried   []string
	outcome string
	run     func(t *testing.T, arena *arena, tried []string)
}

// arena is a fleet of two devices, one of them hostile.
type arena struct {
	server *natstest.Server
	sync   *nats.SyncService
	js     jetstream.JetStream
	attacker
}

// TestHostileDevice makes every attempt with the token of one device, and
// requires that the table in the documentation is what was tried.
func TestHostileDevice(t *testing.T) {
	t.Parallel()
	arena := newArena(t)
	before := arena.others(t)
	attempts := hostileAttempts()
	for _, attempt := range attempts {
		t.Run(attempt.what, func(t *testing.T) {
			attempt.run(t, arena, attempt.tried)
			require.Equal(t, before, arena.others(t), "nothing of others may have changed")
		})
	}
	table := attemptTable(attempts)
	t.Log("\n" + table)
	document, err := os.ReadFile(securityDoc)
	require.NoError(t, err)
	_, rest, begins := strings.Cut(string(document), tableBegins)
	documented, _, ends := strings.Cut(rest, tableEnds)
	require.True(t, begins && ends, "docs/security.md has the marks of the table")
	require.Equal(t, table, documented, "docs/security.md has the table that this test logs")
}

func attemptTable(attempts []attempt) string {
	var table strings.Builder
	table.WriteString("| a device tries to | by | outcome |\n|---|---|---|\n")
	for _, a := range attempts {
		tried := make([]string, len(a.tried))
		for i, text := range a.tried {
			tried[i] = "`" + text + "`"
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", a.what, strings.Join(tried, ", "), a.outcome)
	}
	return table.String()
}

func newArena(t *testing.T) *arena {
	t.Helper()
	server := natstest.Start(t, natstest.Options{Callout: true})
	a := &arena{server: server, sync: serveSync(t, server)}
	operator := server.Operator(t)
	publishFor(t, operator, victim, 5)
	publishFor(t, operator, mallory, 3)
	_, err := nats.NewDeploymentStore(operator).Create(t.Context(), domain.FleetDeployment{
		Name: "web", Origin: contracts.OriginCLI, Spec: contracts.DeploymentSpec{
			TargetSelector: &contracts.LabelSelector{MatchLabels: map[string]string{"site": "paris"}},
			Score:          contracts.ReconcileScore{Type: contracts.ScoreProcessV0, Data: json.RawMessage(`{"services":[{"name":"web","command":["sleep","1"]}]}`)},
		},
	})
	require.NoError(t, err)
	honest := server.Device(t, victim)
	reporter := nats.NewObservedStateReporter(honest, victim)
	require.NoError(t, reporter.Report(t.Context(), contracts.DeviceReport{Sequence: 1}))
	require.NoError(t, reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))
	a.js, err = jetstream.New(server.Raw(t))
	require.NoError(t, err)
	a.attacker = attack(t, server)
	require.Eventually(t, func() bool {
		stored := a.others(t)
		return stored[contracts.HeartbeatSubject(victim)] != "" && stored[contracts.ReportSubject(victim, contracts.ReportState)] != ""
	}, patience, 10*time.Millisecond)
	return a
}

// others is the last message of every subject that is not the attacker's own.
func (a *arena) others(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	streams := a.js.ListStreams(t.Context())
	for info := range streams.Info() {
		stream, err := a.js.Stream(t.Context(), info.Config.Name)
		require.NoError(t, err)
		subjects, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(">"))
		require.NoError(t, err)
		for subject, count := range subjects.State.Subjects {
			if strings.Contains(subject, string(mallory)) {
				continue
			}
			message, err := stream.GetLastMsgForSubject(t.Context(), subject)
			require.NoError(t, err)
			found[subject] = fmt.Sprintf("%d, the last at %d: %s", count, message.Sequence, message.Data)
		}
	}
	require.NoError(t, streams.Err())
	return found
}

// refusedSubscriptions requires that the broker refuses each subject.
func refusedSubscriptions(t *testing.T, a *arena, tried []string) {
	t.Helper()
	for _, subject := range tried {
		_, err := a.SubscribeSync(subject)
		require.NoError(t, err)
		a.requireRefused(t)
		_, err = a.QueueSubscribeSync(subject, "group")
		require.NoError(t, err)
		a.requireRefused(t)
	}
}

// refusedPublications requires that the broker refuses each subject, with and
// without a reply subject of the attacker's own.
func refusedPublications(t *testing.T, a *arena, tried []string) {
	t.Helper()
	for _, subject := range tried {
		require.NoError(t, a.Publish(subject, []byte("{}")))
		a.requireRefused(t)
		require.NoError(t, a.PublishRequest(subject, contracts.InboxPrefix(mallory)+".x", []byte(`{"last_by_subj":">"}`)))
		a.requireRefused(t)
	}
}

// refusedRequests is refusedPublications for bodies that are sent to every form
// of a subject.
func refusedRequests(subjects ...string) func(*testing.T, *arena, []string) {
	return func(t *testing.T, a *arena, tried []string) {
		t.Helper()
		for _, subject := range subjects {
			for _, body := range tried {
				require.NoError(t, a.PublishRequest(subject, contracts.InboxPrefix(mallory)+".x", []byte(body)))
				a.requireRefused(t)
			}
		}
	}
}

// foreignReplies asks the sync service to answer elsewhere, which it refuses.
func foreignReplies(t *testing.T, a *arena, tried []string) {
	t.Helper()
	spy, err := a.server.Raw(t).SubscribeSync(">")
	require.NoError(t, err)
	request, err := contracts.Encode(contracts.SyncRequest{})
	require.NoError(t, err)
	refused := a.sync.Stats().Refused
	for i, reply := range tried {
		require.NoError(t, a.PublishMsg(&natsgo.Msg{Subject: contracts.SyncSubject(mallory), Reply: reply, Data: request}))
		require.Eventually(t, func() bool { return a.sync.Stats().Refused == refused+uint64(i)+1 }, patience, time.Millisecond)
	}
	requireSilent(t, spy, tried)
}

// requireSilent requires that nothing was published to the subjects.
func requireSilent(t *testing.T, spy *natsgo.Subscription, subjects []string) {
	t.Helper()
	for {
		msg, err := spy.NextMsg(50 * time.Millisecond)
		if errors.Is(err, natsgo.ErrTimeout) {
			return
		}
		require.NoError(t, err)
		for _, subject := range subjects {
			require.NotEqual(t, subject, msg.Subject, "nothing may be published there")
		}
	}
}

// acknowledgements asks for one into the subjects: what devices write is stored
// without.
func acknowledgements(t *testing.T, a *arena, tried []string) {
	t.Helper()
	spy, err := a.server.Raw(t).SubscribeSync(">")
	require.NoError(t, err)
	for _, reply := range tried {
		require.NoError(t, a.PublishRequest(contracts.ReportSubject(mallory, contracts.ReportState), reply, []byte("{}")))
		require.NoError(t, a.PublishRequest(contracts.HeartbeatSubject(mallory), reply, []byte("{}")))
	}
	a.settle(t)
	requireSilent(t, spy, tried)
}

// settle waits until the streams hold all that the attacker has sent: they take
// it in order.
func (a *arena) settle(t *testing.T) {
	t.Helper()
	a.requireAllowed(t)
	mark := fmt.Appendf(nil, "mark %d", time.Now().UnixNano())
	for stream, subject := range map[string]string{
		contracts.StreamReports:    contracts.ReportSubject(mallory, contracts.ReportInfo),
		contracts.StreamHeartbeats: contracts.HeartbeatSubject(mallory),
	} {
		require.NoError(t, a.Publish(subject, mark))
		s, err := a.js.Stream(t.Context(), stream)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			message, err := s.GetLastMsgForSubject(t.Context(), subject)
			return err == nil && bytes.Equal(message.Data, mark)
		}, patience, 5*time.Millisecond)
	}
}

// headers are sent along with the attacker's own report and heartbeat.
func headers(t *testing.T, a *arena, tried []string) {
	t.Helper()
	for _, header := range tried {
		msg := &natsgo.Msg{Header: natsgo.Header{}, Data: []byte("{}")}
		for line := range strings.SplitSeq(header, ", ") {
			name, value, _ := strings.Cut(line, ": ")
			msg.Header.Set(name, value)
		}
		for _, subject := range []string{contracts.ReportSubject(mallory, contracts.ReportState), contracts.HeartbeatSubject(mallory)} {
			msg.Subject = subject
			require.NoError(t, a.PublishMsg(msg))
		}
		a.settle(t)
	}
}

// unknownReports would fill the store if they were kept.
func unknownReports(t *testing.T, a *arena, tried []string) {
	t.Helper()
	for _, subject := range tried {
		require.NoError(t, a.Publish(subject, []byte("{}")))
	}
	a.settle(t)
	reports, err := a.js.Stream(t.Context(), contracts.StreamReports)
	require.NoError(t, err)
	info, err := reports.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	require.NoError(t, err)
	for _, subject := range tried {
		require.NotContains(t, info.State.Subjects, subject)
	}
}

// malformed bodies are the attacker's own report, which nobody can read.
func malformed(t *testing.T, a *arena, tried []string) {
	t.Helper()
	for _, body := range tried {
		for _, subject := range []string{
			contracts.ReportSubject(mallory, contracts.ReportState), contracts.HeartbeatSubject(mallory), contracts.SyncSubject(mallory),
		} {
			require.NoError(t, a.PublishRequest(subject, contracts.InboxPrefix(mallory)+".x", []byte(body)))
		}
	}
	a.settle(t)
	// The sync service goes on; within a second it looks at a few questions of
	// one device only.
	require.Eventually(t, func() bool {
		answer, err := a.Request(contracts.SyncSubject(mallory), []byte("{}"), time.Second)
		return err == nil && len(answer.Data) > 0
	}, patience, 10*time.Millisecond)
}

// oversized messages are not stored, and end the connection when they are
// larger than the broker takes at all.
func oversized(t *testing.T, a *arena, _ []string) {
	t.Helper()
	require.NoError(t, a.Publish(contracts.HeartbeatSubject(mallory), make([]byte, 64<<10)))
	a.settle(t)
	require.ErrorIs(t, a.Publish(contracts.HeartbeatSubject(mallory), make([]byte, a.MaxPayload()+1)), natsgo.ErrMaxPayload)
}

// manyReplies answers a command more often than once, and where nobody asked.
func manyReplies(t *testing.T, a *arena, _ []string) {
	t.Helper()
	commands, err := a.SubscribeSync(contracts.CommandsSubject(mallory))
	require.NoError(t, err)
	a.requireAllowed(t)
	operator := a.server.Raw(t)
	inbox, err := operator.SubscribeSync(operator.NewInbox())
	require.NoError(t, err)
	require.NoError(t, operator.PublishRequest(contracts.CommandSubject(mallory, contracts.VerbPing), inbox.Subject, []byte("{}")))
	command, err := commands.NextMsg(patience)
	require.NoError(t, err)
	require.NoError(t, command.Respond([]byte("once")))
	a.requireAllowed(t)
	require.NoError(t, command.Respond([]byte("twice")))
	a.requireRefused(t)
	require.NoError(t, a.Publish(inbox.Subject+"0", []byte("elsewhere")))
	a.requireRefused(t)
	require.NoError(t, commands.Unsubscribe())
}

// manySubscriptions ends a connection, an own one.
func manySubscriptions(t *testing.T, a *arena, _ []string) {
	t.Helper()
	greedy := attack(t, a.server)
	for i := range 1001 {
		_, err := greedy.SubscribeSync(fmt.Sprintf("%s.%d", contracts.InboxPrefix(mallory), i))
		require.NoError(t, err)
	}
	select {
	case err := <-greedy.refusals:
		require.ErrorIs(t, err, natsgo.ErrMaxSubscriptionsExceeded)
	case <-time.After(patience):
		require.FailNow(t, "the broker must refuse them")
	}
	greedy.Close()
}
