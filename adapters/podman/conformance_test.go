package podman_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/conformance"
)

// testConformance gives every subtest an owner of its own on the same engine.
func testConformance(t *testing.T, h *host) {
	t.Helper()
	var owners atomic.Int64
	conformance.WorkloadRuntime(t, func(t *testing.T) conformance.WorkloadRuntimeFixture {
		t.Helper()
		owner, state := fmt.Sprintf("suite%d", owners.Add(1)), t.TempDir()
		open := func(t *testing.T) domain.WorkloadRuntime {
			t.Helper()
			return h.runtime(t, func(o *podman.Options) {
				o.Owner, o.StateDir, o.PullTimeout = owner, state, 2*time.Second
			})
		}
		return conformance.WorkloadRuntimeFixture{
			Runtime: open(t), Reopen: open, Scores: scores(t, h),
			Kill: func(t *testing.T, _ contracts.DeploymentName, service contracts.ServiceReport) {
				t.Helper()
				if err := syscall.Kill(service.PID, syscall.SIGKILL); err != nil {
					require.ErrorIs(t, err, syscall.ESRCH)
				}
			},
			Alive: func(_ *testing.T, pid int) bool { return syscall.Kill(pid, 0) == nil },
			Foreign: func(t *testing.T) func(*testing.T) bool {
				t.Helper()
				name := "foreign-" + owner
				h.CLI(t.Context(), "run", "-d", "--name", name, "--label", "io.nationtech.fleet.owner=other-"+owner,
					"--label", "io.nationtech.fleet.deployment=web", "--label", "io.nationtech.fleet.service=app", image, "stop", "_")
				t.Cleanup(func() { h.CLI(context.WithoutCancel(t.Context()), "rm", "-f", name) })
				look := func() string {
					return h.CLI(t.Context(), "inspect", "--format", "{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.State.Running}}", name)
				}
				before := look()
				require.Contains(t, before, "true")
				return func(*testing.T) bool { return look() == before }
			},
		}
	})
}

func scores(t *testing.T, h *host) conformance.WorkloadScores {
	t.Helper()
	score := func(t *testing.T, lifecycle contracts.Lifecycle, services ...contracts.PodmanService) contracts.ReconcileScore {
		t.Helper()
		t.Helper()
		return workload(t, "any", 1, contracts.PodmanV0{Services: services, Lifecycle: lifecycle}).Score
	}
	none := contracts.Lifecycle{}
	return conformance.WorkloadScores{
		Type: contracts.ScorePodmanV0,
		Running: func(numbers map[string]int) contracts.ReconcileScore {
			var list []contracts.PodmanService
			for name, number := range numbers {
				service := does(name, "stop", "_")
				service.Env = map[string]string{"NUMBER": fmt.Sprint(number)}
				list = append(list, service)
			}
			return score(t, none, list...)
		},
		Ending: func(code int, restart contracts.RestartPolicy) contracts.ReconcileScore {
			service := does("main", "exit", fmt.Sprint(code))
			service.Restart = restart
			return score(t, none, service)
		},
		Talking: func(lines int) contracts.ReconcileScore {
			return score(t, none, does("main", "count", fmt.Sprint(lines), "more", "200"))
		},
		Stubborn: func(grace time.Duration) contracts.ReconcileScore {
			return score(t, contracts.Lifecycle{GracePeriodSeconds: new(uint32(grace / time.Second))}, does("main", "ignore", "_"))
		},
		Graceful: func(t *testing.T) (contracts.ReconcileScore, func(*testing.T) bool) {
			t.Helper()
			dir := t.TempDir()
			service := does("main", "stop", "/data/stopped")
			service.Volumes = []string{dir + ":/data"}
			service.User = fmt.Sprint(os.Getuid())
			return score(t, contracts.Lifecycle{GracePeriodSeconds: new(uint32(10))}, service), func(*testing.T) bool {
				_, err := os.Stat(filepath.Join(dir, "stopped"))
				return err == nil
			}
		},
		Failing: failing(h, score),
	}
}

type scoreOf func(*testing.T, contracts.Lifecycle, ...contracts.PodmanService) contracts.ReconcileScore

// failing has every reason that one deployment alone can come to.
func failing(h *host, score scoreOf) map[contracts.Reason]func(*testing.T) contracts.ReconcileScore {
	one := func(edit func(*testing.T, *contracts.PodmanService)) func(*testing.T) contracts.ReconcileScore {
		return func(t *testing.T) contracts.ReconcileScore {
			t.Helper()
			service := does("main", "stop", "_")
			edit(t, &service)
			return score(t, contracts.Lifecycle{}, service)
		}
	}
	withInit := func(init contracts.InitContainer) func(*testing.T) contracts.ReconcileScore {
		return func(t *testing.T) contracts.ReconcileScore {
			t.Helper()
			set := services(does("main", "stop", "_"))
			set.InitContainers = []contracts.InitContainer{init}
			return workload(t, "any", 1, set).Score
		}
	}
	stuck := initDoes("stuck", "ignore", "_")
	stuck.TimeoutSeconds = 1
	return map[contracts.Reason]func(*testing.T) contracts.ReconcileScore{
		contracts.ReasonImagePullFailed: one(func(_ *testing.T, s *contracts.PodmanService) { s.Image = h.registry.Host() + "/none/none:1" }),
		contracts.ReasonInitFailed:      withInit(initDoes("broken", "exit", "9")),
		contracts.ReasonInitTimeout:     withInit(stuck),
		contracts.ReasonStartFailed:     one(func(_ *testing.T, s *contracts.PodmanService) { s.User = "no-such-user" }),
		contracts.ReasonCommandNotFound: one(func(_ *testing.T, s *contracts.PodmanService) { s.Command = contracts.Command{"/none"} }),
		contracts.ReasonCrashLoop:       one(func(_ *testing.T, s *contracts.PodmanService) { s.Args = []string{"exit", "1"} }),
		contracts.ReasonExited: one(func(_ *testing.T, s *contracts.PodmanService) {
			s.Args, s.Restart = []string{"exit", "1"}, contracts.RestartNever
		}),
		contracts.ReasonOutOfMemory: one(func(_ *testing.T, s *contracts.PodmanService) {
			s.Args, s.Restart, s.Resources.Memory = []string{"memory", "200"}, contracts.RestartNever, "32Mi"
		}),
		contracts.ReasonUnhealthy: one(func(t *testing.T, s *contracts.PodmanService) {
			t.Helper()
			unhealthy(t, h, s)
		}),
		contracts.ReasonPortConflict: one(func(t *testing.T, s *contracts.PodmanService) {
			t.Helper()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, listener.Close()) })
			s.Ports = []string{strings.Join([]string{listener.Addr().String(), "80"}, ":")}
		}),
	}
}
