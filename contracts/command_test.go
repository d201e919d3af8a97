package contracts_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

func TestCommandRules(t *testing.T) {
	ok := func() CommandReply { return CommandReply{Result: json.RawMessage("{}")} }
	failed := func() CommandReply {
		return CommandReply{Error: &CommandError{Kind: "NotFound", Message: "no such deployment"}}
	}
	type c = *CommandReply
	checkRefusals(t, ok, []refusal[CommandReply]{
		{"nothing", func(s c) { s.Result = nil }, "result", "must not be empty when there is no error"},
		{"null", func(s c) { s.Result = json.RawMessage("null") }, "result", "must not be empty when there is no error"},
	})
	checkRefusals(t, failed, []refusal[CommandReply]{
		{"both", func(s c) { s.Result = json.RawMessage("{}") }, "result", "must be empty when there is an error"},
		{"no kind", func(s c) { s.Error.Kind = "" }, "error.kind", "must be 1 to 63 bytes"},
		{"long kind", func(s c) { s.Error.Kind = tooLongName }, "error.kind", "must be 1 to 63 bytes"},
		{"message", func(s c) { s.Error.Message = strings.Repeat("x", 1025) }, "error.message", "at most 1024 bytes"},
	})
	checkAccepted(t, failed, []accepted[CommandReply]{
		{"error and null", func(s c) { s.Result = json.RawMessage("null") }},
	})
	checkRefusals(t, func() PingResult { return PingResult{AgentVersion: "1"} }, []refusal[PingResult]{
		{"version", func(s *PingResult) { s.AgentVersion = "é" }, "agentVersion", "must be letters"},
		{"uptime", func(s *PingResult) { s.Uptime = -1 }, "uptime", "is out of range"},
	})
	logs := func() LogsRequest { return LogsRequest{Deployment: "web", Service: "web"} }
	type l = *LogsRequest
	checkRefusals(t, logs, []refusal[LogsRequest]{
		{"deployment", func(s l) { s.Deployment = "" }, "deployment", "must not be empty"},
		{"service", func(s l) { s.Service = "../x" }, "service", "DNS-1123"},
		{"session", func(s l) { s.Session = tooLongName }, "session", "at most 63 bytes"},
		{"wait", func(s l) { s.Wait = Duration(31 * time.Second) }, "wait", "must be from 0s to 30s"},
	})
	piece := func() LogsResult { return LogsResult{Session: "s", Chunk: make([]byte, MaxLogChunk)} }
	checkRefusals(t, piece, []refusal[LogsResult]{
		{"chunk", func(s *LogsResult) { s.Chunk = append(s.Chunk, 'x') }, "chunk", "must be at most 65536 bytes"},
		{"no session", func(s *LogsResult) { s.Session = "" }, "session", "must be set until the end"},
		{"session", func(s *LogsResult) { s.Session = tooLongName }, "session", "at most 63 bytes"},
	})
	exec := func() ExecRequest {
		return ExecRequest{Deployment: "web", Service: "web", Command: []string{"true"}, Timeout: Duration(time.Second)}
	}
	type e = *ExecRequest
	checkRefusals(t, exec, []refusal[ExecRequest]{
		{"no command", func(s e) { s.Command = nil }, "command", "must not be empty"},
		{"empty command", func(s e) { s.Command[0] = "" }, "command", "must not be empty"},
		{"NUL", func(s e) { s.Command = []string{"a", "\x00b"} }, "command[1]", "NUL"},
		{"deployment", func(s e) { s.Deployment = "WEB" }, "deployment", "DNS-1123"},
		{"service", func(s e) { s.Service = "WEB" }, "service", "DNS-1123"},
		{"service of no deployment", func(s e) { s.Deployment = "" }, "service", "must be empty when no deployment is named"},
		{"no timeout", func(s e) { s.Timeout = 0 }, "timeout", "must be from 1s to 10m0s"},
		{"long timeout", func(s e) { s.Timeout = Duration(time.Hour) }, "timeout", "must be from 1s to 10m0s"},
	})
	output := func() ExecResult { return ExecResult{Output: make([]byte, MaxExecOutput)} }
	checkRefusals(t, output, []refusal[ExecResult]{
		{"output", func(s *ExecResult) { s.Output = append(s.Output, 'x') }, "output", "must be at most 262144 bytes"},
	})
	describe := func() DescribeResult { return DescribeResult{Info: deviceInfo(), Report: deviceReport()} }
	checkRefusals(t, describe, []refusal[DescribeResult]{
		{"info", func(s *DescribeResult) { s.Info.BootID = notUTF8 }, "info.bootID", "valid UTF-8"},
		{"report", func(s *DescribeResult) { s.Report.Deployments[0].Phase = "" }, "report.deployments[0].phase", "is not a known phase"},
		{"generation", func(s *DescribeResult) { s.DesiredGeneration = beyond53 }, "desiredGeneration", "must be at most"},
		{"uptime", func(s *DescribeResult) { s.Uptime = -1 }, "uptime", "is out of range"},
	})

	// The largest output fits into its reply.
	result, err := Encode(output())
	require.NoError(t, err)
	_, err = Encode(CommandReply{Result: result})
	require.NoError(t, err)
}
