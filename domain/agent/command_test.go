package agent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// call sends a command to the device.
func call[Result, Request contracts.Document](b *bench, verb contracts.Verb, request Request) (Result, error) {
	return domain.Call[Result](b.t.Context(), b.fleet.Commands(), deviceID, verb, request)
}

func TestPing(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.advance(time.Minute)
		result, err := call[contracts.PingResult](b, contracts.VerbPing, contracts.Empty{})
		require.NoError(t, err)
		assert.Equal(t, "v1.2.3", result.AgentVersion)
		assert.Equal(t, time.Minute+time.Second, result.Uptime.Std())
		assert.WithinDuration(t, time.Now(), result.Time, 0)
	})
}

func TestDescribe(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.publish(4, process("web", 1, "serve"))
		result, err := call[contracts.DescribeResult](b, contracts.VerbDescribe, contracts.Empty{})
		require.NoError(t, err)
		assert.Equal(t, uint64(4), result.DesiredGeneration)
		assert.Equal(t, []string{"web/Running"}, phasesOf(result.Report))
		assert.Equal(t, b.reporter.last(t).Sequence, result.Report.Sequence)
		assert.Equal(t, "v1.2.3", result.Info.AgentVersion)
	})
}

func TestReconcileForgetsBackoffs(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtime.Behave("broken", memory.Behaviour{Fail: contracts.ReasonStartFailed})
		b.start()
		b.publish(1, process("web", 1, "broken"))
		b.advance(time.Hour)
		b.runtime.Behave("broken", memory.Behaviour{})
		_, err := call[contracts.Empty](b, contracts.VerbReconcile, contracts.Empty{})
		require.NoError(t, err)
		b.advance(500 * time.Millisecond)
		assert.Equal(t, []string{"web/Running"}, b.phases())
	})
}

func TestReportCommandSendsInfoAndReport(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		reports, infos := b.reporter.sent(), b.reporter.heard().infos
		_, err := call[contracts.Empty](b, contracts.VerbReport, contracts.Empty{})
		require.NoError(t, err)
		b.advance(300 * time.Millisecond)
		assert.Len(t, b.reporter.sent(), len(reports)+1)
		assert.Len(t, b.reporter.heard().infos, len(infos)+1)
		assert.Greater(t, b.reporter.last(t).Sequence, reports[len(reports)-1].Sequence)
	})
}

func TestMalformedAndUnknownCommands(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		kind := func(verb contracts.Verb, body string) string {
			data, err := b.fleet.Commands().Call(b.t.Context(), deviceID, verb, []byte(body))
			require.NoError(t, err)
			reply, err := contracts.Decode[contracts.CommandReply](data)
			require.NoError(t, err)
			require.NotNil(t, reply.Error)
			return reply.Error.Kind
		}
		for _, verb := range contracts.Verbs() {
			assert.Equal(t, "Invalid", kind(verb, ""), verb)
			assert.Equal(t, "Invalid", kind(verb, "[1"), verb)
		}
		assert.Equal(t, "Invalid", kind(contracts.VerbLogs, `{"deployment":"../etc"}`))
		assert.Equal(t, "Unsupported", kind("reboot", "{}"))
	})
}
