package process

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/conformance"
)

func TestWorkloadRuntime(t *testing.T) {
	conformance.WorkloadRuntime(t, openFixture)
}

func openFixture(t *testing.T) conformance.WorkloadRuntimeFixture {
	t.Helper()
	f := newFixture(t)
	options := Options{BackoffBase: 50 * time.Millisecond, BackoffMax: time.Second}
	r, stop := f.run(options)
	return conformance.WorkloadRuntimeFixture{
		Runtime: settled{r},
		Reopen: func(t *testing.T) domain.WorkloadRuntime {
			t.Helper()
			stop()
			r, stop = f.run(options)
			return settled{r}
		},
		Scores: scores(),
		Kill: func(t *testing.T, _ contracts.DeploymentName, service contracts.ServiceReport) {
			t.Helper()
			// A service seen running may have ended since.
			if err := syscall.Kill(service.PID, syscall.SIGKILL); err != nil {
				require.ErrorIs(t, err, syscall.ESRCH)
			}
		},
		Alive: func(_ *testing.T, pid int) bool { return running(pid) },
		Foreign: func(t *testing.T) func(t *testing.T) bool {
			t.Helper()
			// The same service of the same deployment, but of another directory.
			foreign := exec.CommandContext(t.Context(), "/bin/sh", "-c", sleeper)
			foreign.Env = []string{markVariable + "=0123456789abcdef/web/app"}
			foreign.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			require.NoError(t, foreign.Start())
			t.Cleanup(func() { _ = foreign.Process.Kill(); _ = foreign.Wait() })
			return func(*testing.T) bool { return running(foreign.Process.Pid) }
		},
	}
}

// readyVariable names a file that a service makes once its traps are set: a
// signal before that would end it as it ends any process.
const readyVariable = "READY"

// settled waits in Apply for what the suite cannot know of.
type settled struct{ *Runtime }

func (s settled) Apply(ctx context.Context, workload domain.Workload, progress domain.Progress) error {
	if err := s.Runtime.Apply(ctx, workload, progress); err != nil {
		return err
	}
	score, err := workload.Score.ProcessV0()
	if err != nil {
		return err
	}
	for _, service := range score.Services {
		if service.Env[readyVariable] == "" {
			continue
		}
		ready := filepath.Join(s.dir, string(workload.Name), service.Name, "work", service.Env[readyVariable])
		for fileSize(ready) == 0 {
			if !pause(ctx, nil, glance) {
				return ctx.Err()
			}
		}
	}
	return nil
}

func scores() conformance.WorkloadScores {
	return conformance.WorkloadScores{
		Type: contracts.ScoreProcessV0,
		Running: func(services map[string]int) contracts.ReconcileScore {
			var list []contracts.ProcessService
			for _, name := range slices.Sorted(maps.Keys(services)) {
				list = append(list, shell(name, fmt.Sprintf("exec sleep %d", 1000+services[name])))
			}
			return processScore(contracts.ProcessV0{Services: list})
		},
		Ending: func(code int, restart contracts.RestartPolicy) contracts.ReconcileScore {
			service := shell("main", fmt.Sprintf("exit %d", code))
			service.Restart = restart
			return processScore(contracts.ProcessV0{Services: []contracts.ProcessService{service}})
		},
		Talking: func(lines int) contracts.ReconcileScore {
			script := fmt.Sprintf(`i=1; while [ $i -le %d ]; do echo "line $i"; i=$((i+1)); done; while :; do echo more; sleep 0.2; done`, lines)
			return processScore(contracts.ProcessV0{Services: []contracts.ProcessService{shell("main", script)}})
		},
		Stubborn: func(grace time.Duration) contracts.ReconcileScore {
			seconds := uint32(grace / time.Second)
			service := shell("main", `trap '' TERM; echo >"$READY"; while :; do sleep 0.1; done`)
			service.Env = map[string]string{readyVariable: "ready"}
			return processScore(contracts.ProcessV0{
				Services:  []contracts.ProcessService{service},
				Lifecycle: contracts.Lifecycle{GracePeriodSeconds: &seconds},
			})
		},
		Graceful: func(t *testing.T) (contracts.ReconcileScore, func(t *testing.T) bool) {
			t.Helper()
			note := filepath.Join(t.TempDir(), "note")
			service := shell("main", `trap 'echo stopped >"$NOTE"; exit 0' TERM; echo >"$READY"; while :; do sleep 0.05; done`)
			service.Env = map[string]string{readyVariable: "ready", "NOTE": note}
			stopped := func(*testing.T) bool { return fileSize(note) > 0 }
			return processScore(contracts.ProcessV0{Services: []contracts.ProcessService{service}}), stopped
		},
		Failing: map[contracts.Reason]func(t *testing.T) contracts.ReconcileScore{
			contracts.ReasonCommandNotFound: func(*testing.T) contracts.ReconcileScore {
				return processScore(contracts.ProcessV0{Services: []contracts.ProcessService{{Name: "main", Command: contracts.Command{"no-such-program"}}}})
			},
			contracts.ReasonStartFailed: func(t *testing.T) contracts.ReconcileScore {
				t.Helper()
				plain := filepath.Join(t.TempDir(), "plain")
				require.NoError(t, os.WriteFile(plain, []byte("x"), 0o600))
				return processScore(contracts.ProcessV0{Services: []contracts.ProcessService{{Name: "main", Command: contracts.Command{plain}}}})
			},
			contracts.ReasonCrashLoop: func(*testing.T) contracts.ReconcileScore {
				return processScore(contracts.ProcessV0{Services: []contracts.ProcessService{shell("main", "exit 3")}})
			},
			contracts.ReasonExited: func(*testing.T) contracts.ReconcileScore {
				service := shell("main", "exit 3")
				service.Restart = contracts.RestartNever
				return processScore(contracts.ProcessV0{Services: []contracts.ProcessService{service}})
			},
			contracts.ReasonInvalidScore: func(*testing.T) contracts.ReconcileScore {
				return contracts.ReconcileScore{Type: contracts.ScoreProcessV0, Data: json.RawMessage(`{"services":[{"name":"main"}]}`)}
			},
		},
	}
}

func processScore(score contracts.ProcessV0) contracts.ReconcileScore {
	data, err := json.Marshal(score)
	if err != nil {
		panic(err) // strings and numbers alone: it cannot
	}
	return contracts.ReconcileScore{Type: contracts.ScoreProcessV0, Data: data}
}
