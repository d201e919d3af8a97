package commands_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestRolloutStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTerminal(t)
		x.applyHello()
		b := x.start("rollout", "status", "hello")
		pass(time.Second)
		assert.Equal(t, "Waiting for deployment \"hello\": the operator has not acted upon generation 1 yet…\n", b.taken())
		x.status("hello", contracts.DeploymentStatus{ObservedGeneration: 1, Matched: 10, Updated: 3, Running: 3, Pending: 6, Failed: 1, Offline: 1}, contracts.ConditionProgressing)
		pass(time.Second)
		assert.Equal(t, "Waiting for deployment \"hello\": 3 of 10 devices run generation 1 (6 pending, 1 failed); 1 offline, to catch up when they connect…\n", b.taken())
		x.status("hello", contracts.DeploymentStatus{ObservedGeneration: 1, Matched: 10, Updated: 9, Running: 9, Pending: 1, Offline: 1}, contracts.ConditionAvailable)
		r := <-b.done
		assert.Equal(t, 0, r.code)
		assert.Equal(t, "deployment \"hello\" successfully rolled out: generation 1 runs on 9 of 10 devices; 1 offline, to catch up when they connect\n", b.taken())

		x.ok("apply", "-f", filepath.Join(example, "hello-v2.yaml"))
		assert.Contains(t, x.ok("rollout", "status", "deployment/hello", "--watch=false"), "generation 2")
		b = x.start("rollout", "status", "hello")
		pass(time.Second)
		b.cancel()
		r = <-b.done
		assert.Equal(t, 130, r.code)
		assert.Equal(t, "interrupted\n", r.stderr)
	})
}

func TestRolloutStatusFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTerminal(t)
		r := x.run("rollout", "status", "nope")
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stderr, `no deployment "nope"`)

		x.applyHello()
		begun := time.Now()
		r = x.run("rollout", "status", "hello", "--timeout", "3s")
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stderr, "not done after 3s; the operator has not acted upon it: does fleet-operator run?")
		assert.Equal(t, 3*time.Second, time.Since(begun))

		stalled := contracts.DeploymentStatus{
			ObservedGeneration: 1, Matched: 2, Updated: 2, Running: 1, Failed: 1,
			Problems: []contracts.Problem{{Device: "paris-01", Phase: contracts.PhaseFailed, Reason: contracts.ReasonCrashLoop, Message: "exit code 3"}},
		}
		b := x.start("rollout", "status", "hello")
		x.status("hello", stalled, contracts.ConditionStalled)
		pass(10 * time.Second)
		x.status("hello", stalled, contracts.ConditionProgressing) // it tries again
		pass(10 * time.Second)
		x.status("hello", stalled, contracts.ConditionStalled)
		pass(10 * time.Second)
		assert.Empty(t, b.done, "not for good yet")
		r = <-b.done
		assert.Equal(t, 1, r.code)
		assert.Equal(t, "Error: rollout of deployment \"hello\", generation 1: no progress without help; 1 of 2 devices run it\n"+
			"  paris-01: Failed CrashLoop: exit code 3\nsee `fleet describe deployment hello`\n", r.stderr)

		b = x.start("rollout", "status", "hello")
		pass(time.Second)
		x.ok("delete", "deployment", "hello", "--wait=false")
		r = <-b.done
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stderr, "was deleted meanwhile")
	})
}

func TestDeleteDeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTerminal(t)
		x.applyHello()
		x.status("hello", contracts.DeploymentStatus{ObservedGeneration: 1, Matched: 2, Running: 2}, contracts.ConditionAvailable)
		b := x.start("delete", "deployment", "hello")
		pass(time.Second)
		assert.Equal(t, "deployment/hello deleted\nWaiting for deployment \"hello\" to be removed: the operator has not said yet which devices have it…\n", b.taken())
		x.status("hello", contracts.DeploymentStatus{ObservedGeneration: 1, Removing: true, Matched: 2, Pending: 2, Offline: 1})
		pass(time.Second)
		assert.Equal(t, "Waiting for deployment \"hello\" to be removed: 2 devices still have it, 1 of them offline…\n", b.taken())

		r := x.run("delete", "deployment", "hello", "--timeout", "1s")
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stdout, "deployment/hello is deleted already\n")
		assert.Contains(t, r.stderr, "not removed everywhere after 1s: 2 devices still have it, 1 of them offline")

		require.NoError(t, x.fleet.Statuses().Delete(t.Context(), "hello"))
		assert.Equal(t, 0, (<-b.done).code)
		assert.Equal(t, "deployment/hello removed from all devices that are online\n", b.taken())
		r = x.run("delete", "deployment", "hello", "nope")
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stderr, `no deployment "hello"`)
		assert.Contains(t, r.stderr, `no deployment "nope"`)
	})
}

func TestRolloutHistoryAndUndo(t *testing.T) {
	x := newTerminal(t)
	x.applyHello()
	r := x.run("rollout", "undo", "hello")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "no earlier generation")
	x.ok("apply", "-f", filepath.Join(example, "hello-v2.yaml"))
	assert.Equal(t, "GENERATION   AGE   CHANGE-CAUSE\n1            0s    -\n2            0s    greet in French\n", x.ok("rollout", "history", "hello"))
	assert.Contains(t, x.ok("rollout", "history", "hello", "--generation", "2", "-o", "yaml"), "GREETING: bonjour\n")
	assert.Equal(t, "deployment/hello rolled back to generation 1, as generation 3\n", x.ok("rollout", "undo", "hello"))
	assert.Equal(t, "deployment/hello rolled back to generation 2, as generation 4\n", x.ok("rollout", "undo", "hello", "--to-generation", "2"))
	assert.Equal(t, "deployment/hello unchanged: generation 4 has the same spec\n", x.ok("rollout", "undo", "hello", "--to-generation", "2"))
	r = x.run("rollout", "undo", "hello", "--to-generation", "9")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "has no generation 9")
	assert.Contains(t, x.ok("rollout", "history", "hello", "-o", "json"), "rollout undo to generation 2")
}

// serve answers commands as a device would.
func (x *terminal) serve(id contracts.DeviceID) (stop func()) {
	ctx, cancel := context.WithCancel(x.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- x.fleet.Device(id).Serve(ctx, func(ctx context.Context, verb contracts.Verb, request []byte) []byte {
			switch verb {
			case contracts.VerbPing:
				<-time.After(20 * time.Millisecond)
				return domain.Answer(contracts.PingResult{AgentVersion: "v0.9", Time: time.Now().Add(-time.Hour), Uptime: contracts.Duration(3 * time.Minute)}, nil)
			case contracts.VerbReconcile:
				return domain.Answer(contracts.Empty{}, nil)
			case contracts.VerbLogs:
				return domain.Answer(logs(ctx, request))
			case contracts.VerbExec, contracts.VerbDescribe, contracts.VerbReport, contracts.VerbRotate:
			}
			return domain.Answer(nil, domain.Errorf(domain.ErrUnsupported, "%s is not known here", verb))
		})
	}()
	return func() {
		cancel()
		<-done
	}
}

// logs gives two pieces; a follower then waits for a third.
func logs(ctx context.Context, data []byte) (contracts.LogsResult, error) {
	request, err := contracts.Decode[contracts.LogsRequest](data)
	if err != nil {
		return contracts.LogsResult{}, err
	}
	switch {
	case request.Deployment != "hello":
		return contracts.LogsResult{}, domain.Errorf(domain.ErrNotFound, "deployment %q does not run here", request.Deployment)
	case request.Session == "":
		return contracts.LogsResult{Session: "s", Chunk: []byte("one\n")}, nil
	case !request.Follow:
		return contracts.LogsResult{Chunk: []byte("two\n"), End: true}, nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(request.Wait.Std()):
	}
	return contracts.LogsResult{Session: "s", Chunk: []byte("more\n")}, nil
}

func TestDeviceCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTerminal(t)
		stop := x.serve("a")
		defer stop()
		synctest.Wait()
		assert.Equal(t, "a: time=20.0 ms agent=v0.9 up=3m clock-off-by=-1h0m0s\n", x.ok("ping", "a"))
		assert.Equal(t, "device/a reconciling\n", x.ok("reconcile", "a"))
		assert.Equal(t, "one\ntwo\n", x.ok("logs", "a/hello"))

		r := x.run("ping", "a", "gone", "-c", "2")
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stdout, "gone: no answer: device \"gone\" is offline")
		assert.Contains(t, r.stdout, "4 sent, 2 answered\n")
		assert.Contains(t, r.stderr, "2 of 4 pings unanswered")

		begun := time.Now()
		for _, command := range [][]string{{"logs", "gone/hello", "-f"}, {"reconcile", "gone"}} {
			r = x.run(command...)
			assert.Equal(t, 1, r.code)
			assert.Contains(t, r.stderr, `device "gone" is offline`)
		}
		assert.Zero(t, time.Since(begun), "at once")
		r = x.run("logs", "a/web")
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stderr, `deployment "web" does not run here`)

		b := x.start("logs", "a/hello", "-f", "--tail", "5")
		pass(25 * time.Second)
		assert.Equal(t, "one\nmore\nmore\n", b.taken())
		b.cancel()
		assert.Equal(t, 0, (<-b.done).code)
	})
}
