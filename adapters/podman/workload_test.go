package podman_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman"
	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func testEngineInfo(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	name, version, socket, err := r.Engine(t.Context())
	require.NoError(t, err)
	assert.Equal(t, string(h.Product), name)
	assert.Equal(t, h.Socket, socket)
	assert.Equal(t, name+" "+version, r.Name())

	found, err := podman.Find(t.Context(), "/nonexistent/engine.sock", h.Socket)
	require.NoError(t, err)
	assert.Equal(t, h.Socket, found)
	_, err = podman.Find(t.Context(), "/nonexistent/engine.sock")
	require.ErrorIs(t, err, domain.ErrUnavailable)
}

func testLifecycle(t *testing.T, h *host) {
	t.Helper()
	dir := t.TempDir()
	r := h.runtime(t, func(o *podman.Options) { o.StateDir = dir })
	one := workload(t, "one", 7, services(does("web", "stop", "_"), does("db", "stop", "_")))
	two := workload(t, "two", 3, services(does("web", "stop", "_")))
	apply(t, r, one)
	apply(t, r, two)
	before := eventually(t, r, "one", func(s domain.WorkloadStatus) bool { phase, _ := s.Assess(); return phase == contracts.PhaseRunning })
	assert.Equal(t, uint64(7), before.Generation)
	require.Len(t, before.Services, 2)
	assert.Equal(t, "db", before.Services[0].Name)
	assert.Equal(t, image, before.Services[0].Image)
	assert.Positive(t, before.Services[0].PID)
	assert.Empty(t, before.Reason)

	// The same again, by another agent, without the file of the first one.
	apply(t, r, one)
	again := h.runtime(t, nil)
	apply(t, again, one)
	assert.Equal(t, before, status(t, again, "one"))

	// A newer generation of the same is noted and restarts nothing.
	one.Generation = 8
	apply(t, r, one)
	after := status(t, r, "one")
	assert.Equal(t, uint64(8), after.Generation)
	assert.Equal(t, before.Services, after.Services)

	// A service that somebody removed comes back; the other is left alone.
	h.CLI(t.Context(), "rm", "-f", "fleet.one.web")
	gone := status(t, r, "one")
	assert.Equal(t, contracts.ServiceWaiting, gone.Services[1].State)
	apply(t, r, one)
	back := status(t, r, "one")
	assert.Equal(t, before.Services[0], back.Services[0])
	assert.NotEqual(t, before.Services[1].PID, back.Services[1].PID)

	// Removal is complete, and of the one alone.
	other := status(t, r, "two")
	require.NoError(t, r.Remove(t.Context(), "one"))
	require.NoError(t, r.Remove(t.Context(), "one"))
	assert.Equal(t, other, status(t, r, "two"))
	assert.NotContains(t, h.CLI(t.Context(), "ps", "-a", "--format", "{{.Names}}"), "fleet.one.")
	all, err := r.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, all, 1)
	state, err := os.ReadFile(filepath.Join(dir, "containers.json"))
	require.NoError(t, err)
	assert.NotContains(t, string(state), `"one"`)
}

// testSpec reads every field back from inside, or from the engine.
func testSpec(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	shared := t.TempDir()
	writeFile(t, filepath.Join(shared, "given"), "from the host\n")
	port := freePort(t)
	service := does("web", "env", "COLOUR", "read", "/given/given", "write", "/scratch/x", "read", "/scratch/x",
		"write", "/named/kept", "serve", "8000")
	service.Command = contracts.Command{"/app", "print", "by command"}
	service.Env = map[string]string{"COLOUR": "ultramarine"}
	service.Volumes = []string{shared + ":/given:ro", "fleet-test-spec:/named"}
	service.Tmpfs = []string{"/scratch"}
	service.User = "0:0"
	service.CapAdd = []string{"NET_BIND_SERVICE"}
	service.ReadOnly = true
	service.Resources = contracts.Resources{CPU: "500m", Memory: "64Mi", Pids: 50}
	service.Ports = []string{fmt.Sprintf("127.0.0.1:%d:8000", port)}
	service.Restart = contracts.RestartOnFailure
	score := services(service)
	score.Lifecycle = contracts.Lifecycle{StopSignal: "SIGTERM", GracePeriodSeconds: new(uint32(4))}
	apply(t, r, workload(t, "spec", 1, score))
	t.Cleanup(func() { h.CLI(context.WithoutCancel(t.Context()), "volume", "rm", "-f", "fleet-test-spec") })

	log := logOf(t, r, "spec", "web", "ready")
	assert.Equal(t, "by command\nultramarine\nfrom the host\nwritten\nready\n", log)
	var conn net.Conn
	require.Eventually(t, func() bool {
		var err error
		conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil
	}, patience, 50e6)
	greeting := make([]byte, 6)
	_, err := conn.Read(greeting)
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(greeting))
	require.NoError(t, conn.Close())

	var container struct {
		Config     struct{ StopSignal string }
		HostConfig struct {
			NanoCpus, Memory, PidsLimit int64
			CapDrop, SecurityOpt        []string
			ReadonlyRootfs              bool
			RestartPolicy               struct{ Name string }
		}
	}
	require.NoError(t, json.Unmarshal(h.Call(t, "GET", "/containers/fleet.spec.web/json"), &container))
	assert.Equal(t, int64(64<<20), container.HostConfig.Memory)
	assert.Equal(t, int64(50), container.HostConfig.PidsLimit)
	assert.True(t, container.HostConfig.ReadonlyRootfs)
	assert.Equal(t, "on-failure", container.HostConfig.RestartPolicy.Name)
	proc, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", status(t, r, "spec").Services[0].PID))
	require.NoError(t, err)
	assert.Contains(t, string(proc), "CapBnd:\t0000000000000400", "only NET_BIND_SERVICE is left")
	assert.Contains(t, string(proc), "NoNewPrivs:\t1")
	if h.Product == podmantest.Docker { // Podman writes it as a quota
		assert.Equal(t, int64(5e8), container.HostConfig.NanoCpus)
	}

	// A named volume outlives its deployment.
	require.NoError(t, r.Remove(t.Context(), "spec"))
	reader := does("web", "read", "/named/kept", "stop", "_")
	reader.Volumes = []string{"fleet-test-spec:/named:ro"}
	apply(t, r, workload(t, "spec", 2, services(reader)))
	assert.Equal(t, "written\nready\n", logOf(t, r, "spec", "web", "ready"))
	require.NoError(t, r.Remove(t.Context(), "spec"))
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func testChange(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	web, db, old := does("web", "stop", "_"), does("db", "stop", "_"), does("old", "stop", "_")
	apply(t, r, workload(t, "app", 1, services(web, db, old)))
	before := status(t, r, "app")

	for name, change := range map[string]func(*contracts.PodmanService){
		"env":     func(s *contracts.PodmanService) { s.Env = map[string]string{"A": "1"} },
		"volumes": func(s *contracts.PodmanService) { s.Volumes = []string{t.TempDir() + ":/data"} },
		"args":    func(s *contracts.PodmanService) { s.Args = []string{"print", "new", "stop", "_"} },
	} {
		changed := web
		change(&changed)
		apply(t, r, workload(t, "app", 2, services(changed, db)))
		after := status(t, r, "app")
		require.Len(t, after.Services, 2, name)
		assert.Equal(t, before.Services[0], after.Services[0], "%s: the unchanged service", name)
		assert.NotEqual(t, before.Services[len(before.Services)-1].PID, after.Services[1].PID, "%s: the changed service", name)
		before = after
	}
	// What cannot be made leaves the old one running.
	broken := web
	broken.CapAdd = []string{"NO_SUCH_CAPABILITY"}
	requireReason(t, r, workload(t, "app", 3, services(broken, db)), contracts.ReasonStartFailed)
	after := status(t, r, "app")
	assert.Equal(t, before.Services, after.Services)
	assert.Equal(t, contracts.ReasonStartFailed, after.Reason)
	assert.Equal(t, uint64(2), after.Generation)
	names := strings.Fields(h.CLI(t.Context(), "ps", "-a", "--filter", "label=io.nationtech.fleet.deployment=app", "--format", "{{.Names}}"))
	assert.ElementsMatch(t, []string{"fleet.app.web", "fleet.app.db"}, names)
}

func testForeignContainers(t *testing.T, h *host) {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	foreign := func(args ...string) string {
		return strings.TrimSpace(h.CLI(ctx, append(append([]string{"run", "-d"}, args...), image, "stop", "_")...))
	}
	ids := []string{
		foreign("--name", "somebody-elses"),
		foreign("--name", "fleet.app.web"),
		foreign("--name", "marked", "--label", "io.nationtech.fleet.deployment=app"),
		foreign("--name", "other-fleet", "--label", "io.nationtech.fleet.owner=other", "--label", "io.nationtech.fleet.deployment=app", "--label", "io.nationtech.fleet.service=web"),
	}
	t.Cleanup(func() { h.CLI(context.WithoutCancel(ctx), append([]string{"rm", "-f"}, ids...)...) })
	inspect := func() string {
		return h.CLI(ctx, append([]string{"inspect", "--format", "{{.Id}} {{.Name}} {{.State.Pid}} {{.State.StartedAt}}"}, ids...)...)
	}
	before := inspect()
	require.Equal(t, 4, strings.Count(before, "\n"), before)

	r := h.runtime(t, func(o *podman.Options) { o.StateDir = dir })
	// A foreign container holds the name: it is left alone and named.
	failure := requireReason(t, r, workload(t, "app", 1, services(does("web", "stop", "_"))), contracts.ReasonStartFailed)
	assert.Contains(t, failure.Message, "fleet.app.web")
	assert.Contains(t, failure.Message, "left alone")
	apply(t, r, workload(t, "app", 2, services(does("api", "stop", "_"))))
	all, err := r.List(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Len(t, all[0].Services, 1)
	require.NoError(t, r.Remove(ctx, "app"))
	assert.Equal(t, before, inspect())
}

func testSecrets(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	web := does("web", "stop", "_")
	web.Env = map[string]string{"TOKEN": "correct-horse"}
	web.Command = contracts.Command{"/correct-horse"} // engines quote the command
	failure := requireReason(t, r, workload(t, "secret", 1, services(web)), contracts.ReasonCommandNotFound)
	assert.NotContains(t, failure.Message, "correct-horse")
	for err := error(failure); err != nil; {
		assert.NotContains(t, err.Error(), "correct-horse")
		unwrapped, ok := err.(interface{ Unwrap() error })
		if !ok {
			break
		}
		err = unwrapped.Unwrap()
	}
	assert.NotContains(t, status(t, r, "secret").Message, "correct-horse")
}
