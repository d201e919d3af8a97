package agent_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

func execOf(deployment string, timeout time.Duration, words ...string) contracts.ExecRequest {
	return contracts.ExecRequest{Deployment: contracts.DeploymentName(deployment), Command: words, Timeout: contracts.Duration(timeout)}
}

func exec(b *bench, request contracts.ExecRequest) (contracts.ExecResult, error) {
	return call[contracts.ExecResult](b, contracts.VerbExec, request)
}

// execBench is a device that runs "web" and allows commands.
func execBench(b *bench, policy agent.ExecPolicy) {
	b.options.Exec = policy
	b.start()
	b.publish(1, process("web", 1, "serve"))
}

func TestExecIsOffUnlessAllowed(t *testing.T) {
	allowed := map[agent.ExecPolicy][2]bool{ // in a service, on the host
		"": {}, agent.ExecNone: {}, agent.ExecWorkloads: {true, false}, agent.ExecAll: {true, true},
	}
	for policy, want := range allowed {
		t.Run(string(policy), func(t *testing.T) {
			inBubble(t, func(b *bench) {
				execBench(b, policy)
				for i, deployment := range []string{"web", ""} {
					_, err := exec(b, execOf(deployment, time.Second, "print", "x"))
					if want[i] {
						require.NoError(t, err)
						continue
					}
					require.ErrorIs(t, err, domain.ErrPermissionDenied)
					assert.Contains(t, err.Error(), "set exec = "+strconv.Quote([]string{"workloads", "all"}[i])+" under [commands]")
				}
			})
		})
	}
}

func TestExecResult(t *testing.T) {
	inBubble(t, func(b *bench) {
		execBench(b, agent.ExecAll)
		for _, where := range []string{"web", ""} {
			result, err := exec(b, execOf(where, time.Second, "print", "x", "exit", "3"))
			require.NoError(t, err)
			assert.Equal(t, contracts.ExecResult{ExitCode: 3, Output: []byte("x")}, result)
		}
	})
}

func TestExecOutputIsCapped(t *testing.T) {
	inBubble(t, func(b *bench) {
		execBench(b, agent.ExecAll)
		for _, more := range []int{0, 1} {
			result, err := exec(b, execOf("web", time.Second, "flood", strconv.Itoa(contracts.MaxExecOutput-1), "print", "e", "flood", strconv.Itoa(more), "exit", "3"))
			require.NoError(t, err)
			assert.Len(t, result.Output, contracts.MaxExecOutput)
			assert.Equal(t, more > 0, result.Truncated)
			assert.Equal(t, 3, result.ExitCode, "the command goes on when its output is full")
		}
	})
}

func TestExecIsKilledAtItsTimeout(t *testing.T) {
	inBubble(t, func(b *bench) {
		execBench(b, agent.ExecAll)
		began := time.Now()
		result, err := exec(b, execOf("web", 90*time.Second, "print", "so far", "hang", "_"))
		require.NoError(t, err)
		assert.Equal(t, 90*time.Second, time.Since(began))
		assert.Equal(t, contracts.ExecResult{ExitCode: 137, Output: []byte("so far"), TimedOut: true}, result)
	})
}

func TestExecOfWhatIsNotThere(t *testing.T) {
	inBubble(t, func(b *bench) {
		execBench(b, agent.ExecAll)
		_, err := exec(b, execOf("none", time.Second, "print", "x"))
		require.ErrorIs(t, err, domain.ErrNotFound)
		request := execOf("web", time.Second, "print", "x")
		request.Service = "none"
		_, err = exec(b, request)
		require.ErrorIs(t, err, domain.ErrNotFound)
	})
}

// hanging begins a command that hangs; its error comes on the channel.
func hanging(ctx context.Context, b *bench) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := domain.Call[contracts.ExecResult](ctx, b.fleet.Commands(), deviceID, contracts.VerbExec, execOf("web", time.Minute, "hang", "_"))
		done <- err
	}()
	synctest.Wait()
	return done
}

func TestExecsAreBounded(t *testing.T) {
	inBubble(t, func(b *bench) {
		execBench(b, agent.ExecAll)
		var all []<-chan error
		for range 4 {
			all = append(all, hanging(b.t.Context(), b))
		}
		_, err := exec(b, execOf("web", time.Second, "print", "x"))
		require.ErrorIs(t, err, domain.ErrUnavailable)
		_, err = call[contracts.PingResult](b, contracts.VerbPing, contracts.Empty{})
		require.NoError(t, err, "commands that hang leave the device reachable")
		b.advance(time.Minute)
		for _, done := range all {
			require.NoError(t, <-done)
		}
		_, err = exec(b, execOf("web", time.Second, "print", "x"))
		require.NoError(t, err)
	})
}

func TestExecEndsWithTheAgent(t *testing.T) {
	inBubble(t, func(b *bench) {
		execBench(b, agent.ExecAll)
		done := hanging(b.t.Context(), b)
		b.end()
		require.ErrorIs(t, <-done, domain.ErrUnavailable)
	})
}

// plainRuntime cannot run commands.
type plainRuntime struct{ domain.WorkloadRuntime }

func TestExecWhereTheRuntimeCannot(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtimes = []domain.WorkloadRuntime{plainRuntime{b.runtime}}
		execBench(b, agent.ExecAll)
		_, err := exec(b, execOf("web", time.Second, "print", "x"))
		require.ErrorIs(t, err, domain.ErrUnsupported)
	})
}
