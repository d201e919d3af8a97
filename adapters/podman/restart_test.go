package podman_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman"
	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// testEngineDown: the engine goes away and comes back under a runtime.
func testEngineDown(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	w := workload(t, "down", 1, services(does("web", "stop", "_")))
	apply(t, r, w)
	ctx, cancel := context.WithCancel(t.Context())
	names := make(chan contracts.DeploymentName, 100)
	done := make(chan error)
	go func() { done <- r.Watch(ctx, func(name contracts.DeploymentName) { names <- name }) }()
	h.Stop(t)
	requireReason(t, r, w, contracts.ReasonRuntimeUnavailable)
	_, err := r.List(t.Context())
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorIs(t, r.Remove(t.Context(), "down"), domain.ErrUnavailable)
	assert.True(t, strings.HasPrefix(r.Name(), string(h.Product)+" "), "the name is remembered: %s", r.Name())

	early, err := podman.New(t.Context(), podman.Options{Socket: h.Socket})
	require.NoError(t, err, "a runtime can be made while the engine is down")
	defer early.Close()
	_, _, _, err = early.Engine(t.Context())
	require.ErrorIs(t, err, domain.ErrUnavailable)

	for len(names) > 0 {
		<-names
	}
	h.Start(t)
	apply(t, early, w)
	apply(t, r, w)
	assert.Equal(t, contracts.ServiceRunning, status(t, r, "down").Services[0].State)
	select {
	case name := <-names:
		assert.Equal(t, contracts.DeploymentName("down"), name)
	case <-time.After(patience):
		t.Error("nobody was told that the engine came back")
	}
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, r.Remove(t.Context(), "down"))
}

// testReboot cuts the power and starts everything from disk.
func testReboot(t *testing.T, h *host) {
	t.Helper()
	state, dir := t.TempDir(), t.TempDir()
	r := h.runtime(t, func(o *podman.Options) { o.StateDir = state })
	once := initDoes("prepare", "need", "/data/token", "write", "/data/prepared")
	once.Volumes = []string{dir + ":/data"}
	writeFile(t, filepath.Join(dir, "token"), "")
	finished := does("finished", "exit", "0")
	finished.Restart = contracts.RestartNever
	failing := does("failing", "stop", "_")
	failing.Restart = contracts.RestartOnFailure
	ref := h.registry.Push("team/reboot", "1", h.newImage(t, "reboot"))
	always := from("always", ref)
	always.PullPolicy = contracts.PullAlways
	score := services(always, failing, finished)
	score.InitContainers = []contracts.InitContainer{once}
	w := workload(t, "boot", 4, score)
	apply(t, r, w)
	eventually(t, r, "boot", func(s domain.WorkloadStatus) bool { return s.Services[2].State == contracts.ServiceExited })
	// From now on neither the init container nor a pull would succeed.
	require.NoError(t, os.Remove(filepath.Join(dir, "token")))
	pulls := h.registry.Pulls()

	h.Reboot(t)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	require.NoError(t, err)
	file := filepath.Join(state, "containers.json")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(data), strings.TrimSpace(string(boot)))
	writeFile(t, file, strings.ReplaceAll(string(data), strings.TrimSpace(string(boot)), "the boot before"))
	h.Start(t)
	r = h.runtime(t, func(o *podman.Options) { o.StateDir = state })
	apply(t, r, w)
	after := eventually(t, r, "boot", func(s domain.WorkloadStatus) bool {
		return s.Services[0].State == contracts.ServiceRunning && s.Services[1].State == contracts.ServiceRunning
	})
	assert.Equal(t, uint64(4), after.Generation)
	assert.Equal(t, contracts.ServiceExited, after.Services[2].State)
	assert.Equal(t, pulls, h.registry.Pulls())
	require.NoError(t, r.Remove(t.Context(), "boot"))
}

// TestOffline runs the tests of a reboot without any network.
func TestOffline(t *testing.T) {
	if os.Getenv("FLEET_TEST_OFFLINE") != "" {
		for _, product := range []podmantest.Product{podmantest.Podman, podmantest.Docker} {
			t.Run(string(product), func(t *testing.T) { testReboot(t, newHost(t, product, "")) })
		}
		return
	}
	podmantest.Require(t, podmantest.Podman)
	podmantest.Require(t, podmantest.Docker)
	inside := exec.CommandContext(t.Context(), "unshare", "--net", "--mount", "sh", "-c",
		`ip link set lo up && exec "$0" -test.run '^TestOffline$' -test.v`, os.Args[0])
	inside.Env = append(os.Environ(), "FLEET_TEST_OFFLINE=1")
	output, err := inside.CombinedOutput()
	require.NoError(t, err, string(output))
	assert.Contains(t, string(output), "--- PASS: TestOffline/podman")
	assert.Contains(t, string(output), "--- PASS: TestOffline/docker")
}
