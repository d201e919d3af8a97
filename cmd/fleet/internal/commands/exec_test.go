package commands_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// execDevice answers commands by their program: "say" prints its words, and the
// others end as their names say.
func (x *terminal) execDevice(id contracts.DeviceID) (stop func()) {
	ctx, cancel := context.WithCancel(x.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- x.fleet.Device(id).Serve(ctx, func(ctx context.Context, _ contracts.Verb, body []byte) []byte {
			request, err := contracts.Decode[contracts.ExecRequest](body)
			if err != nil {
				return domain.Answer(nil, err)
			}
			where := string(request.Deployment) + "/" + request.Service + ": "
			switch request.Command[0] {
			case "say":
				return domain.Answer(contracts.ExecResult{Output: []byte(where + strings.Join(request.Command[1:], " ") + "\n")}, nil)
			case "fail":
				return domain.Answer(contracts.ExecResult{ExitCode: 2, Output: []byte("\xffno\n")}, nil)
			case "flood":
				return domain.Answer(contracts.ExecResult{Output: []byte("x"), Truncated: true}, nil)
			case "hang":
				<-time.After(request.Timeout.Std())
				return domain.Answer(contracts.ExecResult{ExitCode: 137, Output: []byte("so far\n"), TimedOut: true}, nil)
			default:
				return domain.Answer(nil, domain.Errorf(domain.ErrPermissionDenied, "this device does not run commands"))
			}
		})
	}()
	synctest.Wait()
	return func() { cancel(); require.NoError(x.t, <-done) }
}

func inExec(t *testing.T, test func(x *terminal)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := newTerminal(t)
		x.env["USER"] = "ana"
		defer x.execDevice("a")()
		test(x)
	})
}

func TestExec(t *testing.T) {
	inExec(t, func(x *terminal) {
		assert.Equal(t, "/: x -o --\n", x.ok("exec", "a", "--", "say", "x", "-o", "--"))
		assert.Equal(t, "web/: y\n", x.ok("exec", "a/web", "--", "say", "y"))
		assert.Equal(t, "web/main: z\n", x.ok("exec", "--timeout", "5s", "a/web/main", "--", "say", "z"))

		r := x.run("exec", "a", "--", "fail")
		assert.Equal(t, result{code: 2, stdout: "\xffno\n"}, r, "the code is the command's, and nothing is added")

		r = x.run("exec", "a", "--", "flood")
		assert.Equal(t, 0, r.code)
		assert.Contains(t, r.stderr, "Warning: the command wrote more than 256 KiB")
	})
}

func TestExecFailures(t *testing.T) {
	inExec(t, func(x *terminal) {
		r := x.run("exec", "a", "--", "other")
		assert.Equal(t, result{code: 255, stderr: "Error: device \"a\": this device does not run commands\n"}, r)

		r = x.run("exec", "gone", "--", "say")
		assert.Equal(t, 255, r.code)
		assert.Contains(t, r.stderr, "fleet describe device gone")

		r = x.run("exec", "a", "--timeout", "5m", "--", "hang")
		assert.Equal(t, 255, r.code)
		assert.Equal(t, "so far\n", r.stdout)
		assert.Equal(t, "Error: device \"a\" killed the command after 5m0s: allow more with --timeout, at most 10m\n", r.stderr)

		x.connectError = domain.Errorf(domain.ErrUnavailable, "no broker")
		r = x.run("exec", "a", "--", "say")
		assert.Equal(t, 255, r.code)
		assert.Contains(t, r.stderr, "no broker")
	})
}

func TestExecAsJSON(t *testing.T) {
	inExec(t, func(x *terminal) {
		r := x.run("exec", "a/web/main", "-o", "json", "--", "fail", "x")
		assert.Equal(t, 2, r.code)
		assert.JSONEq(t, `{"device": "a", "deployment": "web", "service": "main", "command": ["fail", "x"],
			"exitCode": 2, "output": "\ufffdno\n", "truncated": false, "timedOut": false}`, r.stdout)
	})
}

func TestExecIsAnEvent(t *testing.T) {
	inExec(t, func(x *terminal) {
		x.run("exec", "a/web", "--", "fail", "my dir")
		var lines []string
		for line := range strings.Lines(x.ok("get", "events", "-o", "wide")) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		assert.Equal(t, []string{
			"LAST-SEEN KIND OBJECT REASON MESSAGE TIME ACTOR",
			`0s CommandExecuted a/web Requested fail "my dir" (in its service, at most 30s) 2000-01-01T00:00:00Z cli:ana`,
			`0s CommandExecuted a/web Exited exit code 2: fail "my dir" (in its service, at most 30s) 2000-01-01T00:00:00Z cli:ana`,
		}, lines)
	})
}

func TestExecInterrupted(t *testing.T) {
	inExec(t, func(x *terminal) {
		b := x.start("exec", "a", "--", "hang")
		pass(time.Second)
		b.cancel()
		r := <-b.done
		assert.Equal(t, 130, r.code)
		assert.Contains(t, r.stderr, "it goes on on device \"a\" until it ends, at most 30s")
		assert.Contains(t, x.ok("get", "events"), domain.ExecAbandoned)
	})
}
