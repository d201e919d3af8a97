package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// cabin is one device with containers on a Podman of its own, and its fleet.
type cabin struct {
	engine   *podmantest.Engine
	fleet    *fleettest.Separate
	observer *fleettest.Observer
	device   string
}

func startCabin(t *testing.T) (context.Context, *cabin) {
	t.Helper()
	engine := podmantest.Start(t, podmantest.Podman, podmantest.Options{})
	engine.Load(t, "localhost/fleettest/app:1", podmantest.NewImage(t, podmantest.BuildApp(t), "1", 0))
	t.Setenv("CONTAINER_HOST", "unix://"+engine.Socket)
	ctx, cancel := context.WithTimeout(t.Context(), 4*timeout)
	t.Cleanup(cancel)
	fleet, err := fleettest.StartSeparate(ctx, bin, t.TempDir(), 1, "--containers")
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(fleet.Logs())
		}
		require.NoError(t, fleet.End(context.WithoutCancel(ctx)))
	})
	observer, err := fleettest.Observe(ctx, fleet.Broker.Server, fleet.Broker.NKey)
	require.NoError(t, err)
	t.Cleanup(observer.Close)
	awaitSeen(ctx, t, fleet, observer, time.Time{})
	return ctx, &cabin{engine, fleet, observer, fleet.Broker.Devices[0]}
}

// deploy applies the deployment "hello" with the data of a PodmanV0, as YAML in
// one line.
func (c *cabin) deploy(ctx context.Context, t *testing.T, data string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hello.yaml")
	text := fmt.Sprintf(`apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: hello}
spec:
  targetSelector: {}
  score: {type: PodmanV0, data: %s}
`, data)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	_, err := c.fleet.Broker.CLI(ctx, "apply", "-f", path)
	require.NoError(t, err)
}

// app is a service or an init container that does what its words say.
func app(name, words string, more ...string) string {
	fields := append([]string{"name: " + name, "image: localhost/fleettest/app:1", "pullPolicy: never", "args: [" + words + "]"}, more...)
	return "{" + strings.Join(fields, ", ") + "}"
}

// awaitPhase waits until the device reports the deployment so.
func (c *cabin) awaitPhase(ctx context.Context, t *testing.T, phase contracts.Phase, reason contracts.Reason) {
	t.Helper()
	require.NoError(t, fleettest.Until(ctx, fmt.Sprintf("phase %s, reason %q", phase, reason), func() (bool, string) {
		report, _ := c.observer.Device(c.device).Deployment("hello")
		return report.Phase == phase && report.Reason == reason, fmt.Sprintf("%+v", report)
	}))
}

// TestEveryPhase brings a deployment of containers through all phases.
func TestEveryPhase(t *testing.T) {
	ctx, c := startCabin(t)
	c.deploy(ctx, t, "{services: ["+app("main", "stop, _")+"], initContainers: ["+app("prepare", "stop, _")+"]}")
	c.awaitPhase(ctx, t, contracts.PhasePending, contracts.ReasonInitRunning)
	c.deploy(ctx, t, "{services: ["+app("main", "stop, _")+"]}")
	c.awaitPhase(ctx, t, contracts.PhaseRunning, "")
	c.deploy(ctx, t, "{services: ["+app("main", "stop, _")+", "+app("side", `exit, "3"`, `restart: "no"`)+"]}")
	c.awaitPhase(ctx, t, contracts.PhaseDegraded, contracts.ReasonExited)
	c.deploy(ctx, t, "{services: ["+app("main", `exit, "3"`, `restart: "no"`)+"]}")
	c.awaitPhase(ctx, t, contracts.PhaseFailed, contracts.ReasonExited)

	c.deploy(ctx, t, "{services: ["+app("main", "ignore, _")+"], lifecycle: {gracePeriodSeconds: 5}}")
	c.awaitPhase(ctx, t, contracts.PhaseRunning, "")
	deletion, err := c.fleet.Broker.StartCLI("delete", "deployment", "hello") // which waits until it is gone
	require.NoError(t, err)
	t.Cleanup(deletion.Kill)
	c.awaitPhase(ctx, t, contracts.PhaseRemoving, contracts.ReasonStopping)
	require.NoError(t, ended(ctx, t, deletion), deletion.Output())
	require.NoError(t, c.observer.AwaitGone(ctx, "hello", []string{c.device}))
	require.Empty(t, running(ctx, c.engine))
}

// TestExecInContainer runs commands through broker and agent in a container.
func TestExecInContainer(t *testing.T) {
	ctx, c := startCabin(t)
	c.deploy(ctx, t, "{services: ["+app("main", "stop, _")+"]}")
	c.awaitPhase(ctx, t, contracts.PhaseRunning, "")
	place := c.device + "/hello/main"
	exec := func(args ...string) (string, error) {
		return c.fleet.Broker.CLI(ctx, append([]string{"exec"}, args...)...)
	}

	out, err := exec(place, "--", "/app", "say", "bonjour", "exit", "3")
	require.Equal(t, 3, exitCode(t, err), "%v", err)
	require.Equal(t, "bonjour", out)
	out, err = exec(place, "-o", "json", "--", "/app", "flood", "300000")
	require.NoError(t, err)
	var result struct {
		Output    string
		Truncated bool
		ExitCode  int
	}
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	assert.True(t, result.Truncated)
	assert.Zero(t, result.ExitCode)
	assert.Len(t, result.Output, contracts.MaxExecOutput)
	_, err = exec(place, "--timeout", "1s", "--", "/app", "stop", "_")
	require.Equal(t, 255, exitCode(t, err), "%v", err)
	require.ErrorContains(t, err, "killed the command after 1s")

	// The agent dies in the middle: whoever waits learns of it long before the
	// command's own time is over.
	orphan, err := c.fleet.Broker.StartCLI("exec", place, "--timeout", "10m", "--", "/app", "stop", "orphan")
	require.NoError(t, err)
	t.Cleanup(orphan.Kill)
	require.NoError(t, fleettest.Until(ctx, "the command to run", func() (bool, string) {
		return processWith("orphan", orphan.PID()), orphan.Output()
	}))
	c.fleet.Agents[c.device].Kill()
	require.Error(t, ended(ctx, t, orphan))
	require.Contains(t, orphan.Output(), "lost its agent or its connection while the command ran")

	events, err := c.fleet.Broker.CLI(ctx, "get", "events", "--kind", "CommandExecuted", "-o", "json")
	require.NoError(t, err)
	for _, text := range []string{
		`"Requested"`, "/app say bonjour exit 3 (in service main", "exit code 3: /app say bonjour",
		"exit code 0: /app flood 300000", `"TimedOut"`, `"Unavailable"`, "no result: /app stop orphan",
	} {
		assert.Contains(t, events, text)
	}
	require.NoError(t, c.fleet.StartAgent(c.device))
	awaitReachable(ctx, t, c.fleet, c.device)
}

// processWith reports whether a process but those of the CLI was started with
// the word.
func processWith(word string, cli int) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(line), "/app\x00") && strings.Contains(string(line), "\x00"+word+"\x00") &&
			filepath.Dir(file) != fmt.Sprintf("/proc/%d", cli) {
			return true
		}
	}
	return false
}

// TestFollowedLogOfContainerEnds: the engine dies under it, and comes back; then
// the service is removed.
func TestFollowedLogOfContainerEnds(t *testing.T) {
	ctx, c := startCabin(t)
	c.deploy(ctx, t, "{services: ["+app("main", "print, bonjour, stop, _")+"]}")
	c.awaitPhase(ctx, t, contracts.PhaseRunning, "")
	follow := func() *fleettest.Program {
		reader, err := c.fleet.Broker.StartCLI("logs", "-f", c.device+"/hello/main")
		require.NoError(t, err)
		t.Cleanup(reader.Kill)
		require.NoError(t, fleettest.Until(ctx, "the log", func() (bool, string) {
			return strings.Contains(reader.Output(), "ready"), reader.Output()
		}))
		return reader
	}
	impatient, patient := follow(), follow()
	c.engine.Stop(t)
	c.awaitPhase(ctx, t, contracts.PhaseDegraded, contracts.ReasonRuntimeUnavailable)
	require.NoError(t, impatient.Stop(syscall.SIGINT, timeout), "the reader's own end is no failure")
	c.engine.Start(t)
	c.awaitPhase(ctx, t, contracts.PhaseRunning, "")
	_, err := c.fleet.Broker.CLI(ctx, "delete", "deployment", "hello")
	require.NoError(t, err)
	require.NoError(t, ended(ctx, t, patient), patient.Output())
	require.Contains(t, patient.Output(), "terminated", "the last words of a service")
	require.Equal(t, 1, strings.Count(patient.Output(), "bonjour"), patient.Output())
}
