package memory_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/conformance"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

const steady = "registry.example/steady:1"

func TestWorkloadRuntime(t *testing.T) {
	t.Parallel()
	for _, score := range []contracts.ScoreType{contracts.ScoreProcessV0, contracts.ScorePodmanV0} {
		t.Run(string(score), func(t *testing.T) {
			t.Parallel()
			conformance.WorkloadRuntime(t, func(t *testing.T) conformance.WorkloadRuntimeFixture {
				t.Helper()
				runtime := memory.NewRuntime()
				return conformance.WorkloadRuntimeFixture{
					Runtime: runtime,
					// The value is the host: it outlives the agents.
					Reopen: func(*testing.T) domain.WorkloadRuntime { return runtime },
					Scores: scores(t, runtime, score),
					Kill: func(t *testing.T, deployment contracts.DeploymentName, service contracts.ServiceReport) {
						t.Helper()
						require.True(t, runtime.Crash(deployment, service.Name, 137))
					},
					Alive: func(t *testing.T, pid int) bool {
						t.Helper()
						return alive(t, runtime, pid)
					},
					Unsupported: map[string]string{
						"foreign workloads are untouched": "there is nothing else on a host in memory",
					},
				}
			})
		})
	}
}

func alive(t *testing.T, runtime *memory.Runtime, pid int) bool {
	t.Helper()
	workloads, err := runtime.List(t.Context())
	require.NoError(t, err)
	return slices.ContainsFunc(workloads, func(w domain.WorkloadStatus) bool {
		return slices.ContainsFunc(w.Services, func(s contracts.ServiceReport) bool { return s.PID == pid })
	})
}

// score returns a score with services that run one program.
func score(of contracts.ScoreType, program string, restart contracts.RestartPolicy, grace time.Duration, services map[string]int) contracts.ReconcileScore {
	seconds := uint32(grace / time.Second)
	lifecycle := contracts.Lifecycle{GracePeriodSeconds: &seconds}
	var process contracts.ProcessV0
	var podman contracts.PodmanV0
	process.Lifecycle, podman.Lifecycle = lifecycle, lifecycle
	for _, name := range slices.Sorted(maps.Keys(services)) {
		env := map[string]string{"N": strconv.Itoa(services[name])}
		process.Services = append(process.Services, contracts.ProcessService{
			Name: name, Command: contracts.Command{program}, Env: env, Restart: restart,
		})
		podman.Services = append(podman.Services, contracts.PodmanService{
			PodmanContainer: contracts.PodmanContainer{Name: name, Image: program, Env: env}, Restart: restart,
		})
	}
	if of == contracts.ScoreProcessV0 {
		return encode(of, process)
	}
	return encode(of, podman)
}

func encode(of contracts.ScoreType, data any) contracts.ReconcileScore {
	encoded, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return contracts.ReconcileScore{Type: of, Data: encoded}
}

func scores(t *testing.T, runtime *memory.Runtime, of contracts.ScoreType) conformance.WorkloadScores {
	t.Helper()
	one := map[string]int{"main": 1}
	return conformance.WorkloadScores{
		Type: of,
		Running: func(services map[string]int) contracts.ReconcileScore {
			return score(of, steady, "", 0, services)
		},
		Ending: func(code int, restart contracts.RestartPolicy) contracts.ReconcileScore {
			program := fmt.Sprintf("registry.example/ending:%d", code)
			runtime.Behave(program, memory.Behaviour{Exits: true, ExitCode: code})
			return score(of, program, restart, 0, one)
		},
		Talking: func(lines int) contracts.ReconcileScore {
			var text strings.Builder
			for n := range lines {
				fmt.Fprintf(&text, "line %d\n", n+1)
			}
			const program = "registry.example/talking:1"
			runtime.Behave(program, memory.Behaviour{Output: text.String()})
			go func() {
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-t.Context().Done():
						return
					case <-tick.C:
						runtime.Print("web", "main", "more")
					}
				}
			}()
			return score(of, program, "", 0, one)
		},
		Stubborn: func(grace time.Duration) contracts.ReconcileScore {
			runtime.Behave("registry.example/stubborn:1", memory.Behaviour{IgnoresStop: true})
			return score(of, "registry.example/stubborn:1", "", grace, one)
		},
		Graceful: func(*testing.T) (contracts.ReconcileScore, func(*testing.T) bool) {
			return score(of, steady, "", time.Second, one), func(*testing.T) bool {
				return slices.ContainsFunc(runtime.Stops(), func(s memory.Stopped) bool { return s.Signal == "SIGTERM" && !s.Killed })
			}
		},
		Failing: failing(runtime, of),
	}
}

func failing(runtime *memory.Runtime, of contracts.ScoreType) map[contracts.Reason]func(*testing.T) contracts.ReconcileScore {
	all := map[contracts.Reason]func(*testing.T) contracts.ReconcileScore{}
	for _, reason := range []contracts.Reason{
		contracts.ReasonImagePullFailed, contracts.ReasonStartFailed, contracts.ReasonCommandNotFound,
		contracts.ReasonPortConflict, contracts.ReasonDiskFull, contracts.ReasonRuntimeUnavailable,
	} {
		all[reason] = func(*testing.T) contracts.ReconcileScore {
			runtime.Behave("registry.example/failing:1", memory.Behaviour{Fail: reason, Message: "as told"})
			return score(of, "registry.example/failing:1", "", 0, map[string]int{"main": 1})
		}
	}
	if of == contracts.ScorePodmanV0 {
		all[contracts.ReasonInitFailed] = func(*testing.T) contracts.ReconcileScore {
			runtime.Behave("registry.example/init:1", memory.Behaviour{Exits: true, ExitCode: 1})
			return encode(of, contracts.PodmanV0{
				InitContainers: []contracts.InitContainer{{PodmanContainer: contracts.PodmanContainer{Name: "init", Image: "registry.example/init:1"}}},
				Services:       []contracts.PodmanService{{PodmanContainer: contracts.PodmanContainer{Name: "main", Image: steady}}},
			})
		}
	}
	return all
}
