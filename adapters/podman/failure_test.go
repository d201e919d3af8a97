package podman_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func testInit(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	dir := t.TempDir()
	mount := []string{dir + ":/data"}
	first, second := initDoes("first", "print", "one", "write", "/data/a"), initDoes("second", "need", "/data/a", "print", "two", "write", "/data/b")
	web, db := does("web", "need", "/data/b", "stop", "_"), does("db", "stop", "_")
	first.Volumes, second.Volumes, web.Volumes = mount, mount, mount
	score := contracts.PodmanV0{Services: []contracts.PodmanService{web, db}, InitContainers: []contracts.InitContainer{first, second}}
	told := &progress{}
	require.NoError(t, r.Apply(t.Context(), workload(t, "app", 1, score), told.tell))
	assert.Contains(t, told.reasons, contracts.ReasonInitRunning)
	logOf(t, r, "app", "web", "ready")
	assert.Equal(t, "two\n", logOf(t, r, "app", "second", "two"), "an init container's log can be read")
	ran := initRuns(t, h)

	// Neither the same again nor another set with one service left runs them.
	apply(t, r, workload(t, "app", 1, score))
	score.Services[1].Env = map[string]string{"A": "1"}
	apply(t, r, workload(t, "app", 2, score))
	assert.Equal(t, ran, initRuns(t, h))
	assert.Len(t, status(t, r, "app").Services, 2, "init containers are no services")

	// A fresh set does.
	h.CLI(t.Context(), "rm", "-f", "fleet.app.web", "fleet.app.db")
	apply(t, r, workload(t, "app", 2, score))
	fresh := initRuns(t, h)
	assert.NotEqual(t, ran, fresh)

	// So does a change of an init container.
	score.InitContainers[0].Args = []string{"print", "changed", "write", "/data/a"}
	apply(t, r, workload(t, "app", 3, score))
	assert.NotEqual(t, fresh, initRuns(t, h))
	assert.Equal(t, "changed\n", logOf(t, r, "app", "first", "changed"))
	require.NoError(t, r.Remove(t.Context(), "app"))
	assert.Empty(t, initRuns(t, h))
}

// initRuns identifies the runs of init containers that are on the host.
func initRuns(t *testing.T, h *host) string {
	t.Helper()
	return h.CLI(t.Context(), "ps", "-a", "--no-trunc", "--filter", "label=io.nationtech.fleet.kind=init", "--format", "{{.ID}}")
}

func testInitFailures(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	old := workload(t, "app", 1, services(does("web", "stop", "_")))
	apply(t, r, old)
	before := status(t, r, "app")

	score := services(does("web", "print", "new", "stop", "_"))
	score.InitContainers = []contracts.InitContainer{initDoes("migrate", "print", "why it failed", "exit", "4")}
	failure := requireReason(t, r, workload(t, "app", 2, score), contracts.ReasonInitFailed)
	assert.Contains(t, failure.Message, "exit code 4")
	logOf(t, r, "app", "migrate", "why it failed")
	assert.Equal(t, before.Services, status(t, r, "app").Services, "the old set goes on")
	failedOnce := initRuns(t, h)
	requireReason(t, r, workload(t, "app", 2, score), contracts.ReasonInitFailed)
	assert.NotEqual(t, failedOnce, initRuns(t, h), "a failed init container runs again")

	stuck := initDoes("migrate", "ignore", "_")
	stuck.TimeoutSeconds = 1
	score.InitContainers = []contracts.InitContainer{stuck}
	requireReason(t, r, workload(t, "app", 3, score), contracts.ReasonInitTimeout)
	assert.Equal(t, before.Services, status(t, r, "app").Services)

	missing := initDoes("migrate")
	missing.Command = contracts.Command{"/no-such-program"}
	score.InitContainers = []contracts.InitContainer{missing}
	requireReason(t, r, workload(t, "app", 4, score), contracts.ReasonCommandNotFound)

	score.InitContainers = []contracts.InitContainer{initDoes("migrate", "exit", "0")}
	apply(t, r, workload(t, "app", 5, score))
	assert.NotEqual(t, before.Services[0].PID, status(t, r, "app").Services[0].PID)
}

func testStartFailures(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	missing := does("web", "stop", "_")
	missing.Command = contracts.Command{"no-such-program"}
	requireReason(t, r, workload(t, "app", 1, services(does("ok", "stop", "_"), missing)), contracts.ReasonCommandNotFound)
	partly := status(t, r, "app")
	phase, reason := partly.Assess()
	assert.Equal(t, contracts.PhaseDegraded, phase, "the other service runs")
	assert.Equal(t, contracts.ReasonCommandNotFound, reason)

	nobody := does("web", "stop", "_")
	nobody.User = "no-such-user"
	requireReason(t, r, workload(t, "app", 2, services(nobody)), contracts.ReasonStartFailed)
	require.NoError(t, r.Remove(t.Context(), "app"))

	// A port that a process of the host uses, then one of another deployment.
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	web := does("web", "serve", "80")
	web.CapAdd = []string{"NET_BIND_SERVICE"}
	web.Ports = []string{fmt.Sprintf("%d:80", port)}
	requireReason(t, r, workload(t, "app", 3, services(web)), contracts.ReasonPortConflict)
	require.NoError(t, listener.Close())
	apply(t, r, workload(t, "app", 3, services(web)))
	assert.Empty(t, status(t, r, "app").Reason)
	requireReason(t, r, workload(t, "other", 1, services(web)), contracts.ReasonPortConflict)
	phase, reason = status(t, r, "other").Assess()
	assert.Equal(t, contracts.PhaseFailed, phase)
	assert.Equal(t, contracts.ReasonPortConflict, reason)
	require.NoError(t, r.Remove(t.Context(), "app"))
	apply(t, r, workload(t, "other", 1, services(web)))

	requireReason(t, r, domain.Workload{Name: "bad", Generation: 1, Score: contracts.ReconcileScore{Type: contracts.ScorePodmanV0, Data: []byte(`{"services":[]}`)}}, contracts.ReasonInvalidScore)
	requireReason(t, r, domain.Workload{Name: "bad", Generation: 1, Score: contracts.ReconcileScore{Type: "Later", Data: []byte(`{}`)}}, contracts.ReasonUnsupportedScore)
}

func testEnds(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	well, badly := does("well", "exit", "0"), does("badly", "exit", "5")
	well.Restart, badly.Restart = contracts.RestartNever, contracts.RestartNever
	w := workload(t, "once", 1, services(well))
	apply(t, r, w)
	done := eventually(t, r, "once", func(s domain.WorkloadStatus) bool { return s.Services[0].State == contracts.ServiceExited })
	phase, _ := done.Assess()
	assert.Equal(t, contracts.PhaseRunning, phase, "a service that ended well and shall not restart is as declared")
	apply(t, r, w)
	assert.Equal(t, done, status(t, r, "once"), "it is not started again")

	apply(t, r, workload(t, "bad", 1, services(badly)))
	ended := eventually(t, r, "bad", hasReason(contracts.ReasonExited))
	assert.Equal(t, contracts.ServiceExited, ended.Services[0].State)
	require.NotNil(t, ended.Services[0].ExitCode)
	assert.Equal(t, 5, *ended.Services[0].ExitCode)
}

func testCrashLoop(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	w := workload(t, "loop", 1, services(does("web", "print", "again", "exit", "3")))
	apply(t, r, w)
	looping := eventually(t, r, "loop", hasReason(contracts.ReasonCrashLoop))
	assert.Equal(t, contracts.ServiceRestarting, looping.Services[0].State)
	assert.GreaterOrEqual(t, looping.Services[0].Restarts, uint64(3))
	eventually(t, r, "loop", func(s domain.WorkloadStatus) bool {
		return s.Services[0].ExitCode != nil && *s.Services[0].ExitCode == 3
	})
	phase, _ := looping.Assess()
	assert.Equal(t, contracts.PhaseFailed, phase)
	if h.Product == podmantest.Podman {
		// Podman would go on several times a second, or give up for good.
		// One restart may be under way when it is held.
		var held domain.WorkloadStatus
		since := time.Now()
		require.Eventually(t, func() bool {
			apply(t, r, w)
			now := status(t, r, "loop")
			if len(held.Services) == 0 || now.Services[0].Restarts != held.Services[0].Restarts {
				held, since = now, time.Now()
			}
			return time.Since(since) >= 2*time.Second
		}, patience, 200*time.Millisecond, "it is held")
		assert.Equal(t, contracts.ReasonCrashLoop, held.Reason)
		assert.Equal(t, contracts.ServiceRestarting, held.Services[0].State)
		require.Eventually(t, func() bool {
			apply(t, r, w)
			return status(t, r, "loop").Services[0].Restarts > held.Services[0].Restarts
		}, patience, 200*time.Millisecond, "it is started again, and restarts go on counting")
	}
	// Fixed: a new container, whose restarts begin at none.
	apply(t, r, workload(t, "loop", 2, services(does("web", "stop", "_"))))
	fixed := status(t, r, "loop")
	assert.Empty(t, fixed.Reason)
	assert.Zero(t, fixed.Services[0].Restarts)
	assert.Equal(t, contracts.ServiceRunning, fixed.Services[0].State)
}

func testOutOfMemory(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	hungry := does("hungry", "memory", "200")
	hungry.Resources.Memory = "32Mi"
	hungry.Restart = contracts.RestartNever
	apply(t, r, workload(t, "memory", 1, services(hungry)))
	killed := eventually(t, r, "memory", hasReason(contracts.ReasonOutOfMemory))
	assert.Equal(t, 137, *killed.Services[0].ExitCode)
}

func testUnhealthy(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	sick := does("sick", "stop", "_")
	unhealthy(t, h, &sick)
	apply(t, r, workload(t, "health", 1, services(sick)))
	require.Equal(t, contracts.ServiceRunning, status(t, r, "health").Services[0].State)
	ill := eventually(t, r, "health", hasReason(contracts.ReasonUnhealthy))
	assert.Equal(t, contracts.ServiceUnhealthy, ill.Services[0].State)
}

func testStop(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	dir := t.TempDir()
	// The signal's name is the last line of its log: followed to its end.
	score := services(does("web", "stop", "_"))
	score.Lifecycle = contracts.Lifecycle{StopSignal: "SIGUSR1", GracePeriodSeconds: new(uint32(20))}
	apply(t, r, workload(t, "graceful", 1, score))
	logOf(t, r, "graceful", "web", "ready")
	log, err := r.Logs(t.Context(), domain.LogQuery{Deployment: "graceful", Tail: -1, Follow: true})
	require.NoError(t, err)
	began := time.Now()
	read := make(chan string)
	go func() { read <- readAll(log) }()
	require.NoError(t, r.Remove(t.Context(), "graceful"))
	assert.Less(t, time.Since(began), 15*time.Second, "it did not wait for the grace period")
	assert.Contains(t, <-read, "user defined signal 1")
	require.NoError(t, log.Close())

	stubborn := does("web", "ignore", "_")
	stubborn.Volumes = []string{dir + ":/data"}
	score = services(stubborn)
	score.Lifecycle = contracts.Lifecycle{GracePeriodSeconds: new(uint32(2))}
	apply(t, r, workload(t, "stubborn", 1, score))
	logOf(t, r, "stubborn", "web", "ready")

	// Cancelled half way, it can be called again.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.Remove(ctx, "stubborn"), context.DeadlineExceeded)
	began = time.Now()
	require.NoError(t, r.Remove(t.Context(), "stubborn"))
	assert.Less(t, time.Since(began), 30*time.Second)
	assert.Empty(t, status(t, r, "stubborn").Name)
}

// unhealthy gives a service a check that fails. Podman has its checks run by
// timers of systemd, which the test stands in for.
func unhealthy(t *testing.T, h *host, service *contracts.PodmanService) {
	t.Helper()
	service.Healthcheck = &contracts.Healthcheck{
		Command: contracts.Command{"/app", "exit", "1"}, Interval: contracts.Duration(time.Second), Timeout: contracts.Duration(5 * time.Second), Retries: 2,
	}
	if h.Product != podmantest.Podman {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for id := range strings.FieldsSeq(h.CLI(ctx, "ps", "-q", "--filter", "health=starting")) {
				h.CLI(ctx, "healthcheck", "run", id)
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}
