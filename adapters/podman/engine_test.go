package podman_test

import (
	"testing"

	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
)

// Everything below runs on both engines, one after the other: each brings its
// own rules into the host's firewall.

func TestPodman(t *testing.T) { testEngine(t, podmantest.Podman) }

func TestDocker(t *testing.T) { testEngine(t, podmantest.Docker) }

func testEngine(t *testing.T, product podmantest.Product) {
	t.Helper()
	h := newHost(t, product, "")
	for _, test := range []struct {
		name string
		run  func(*testing.T, *host)
	}{
		{"Engine", testEngineInfo},
		{"Lifecycle", testLifecycle},
		{"Spec", testSpec},
		{"Change", testChange},
		{"ForeignContainers", testForeignContainers},
		{"Init", testInit},
		{"InitFailures", testInitFailures},
		{"StartFailures", testStartFailures},
		{"Ends", testEnds},
		{"CrashLoop", testCrashLoop},
		{"OutOfMemory", testOutOfMemory},
		{"Unhealthy", testUnhealthy},
		{"Stop", testStop},
		{"LogsEndEarly", testLogsEndEarly},
		{"StopFailed", testStopFailed},
		{"Pull", testPull},
		{"PullFailures", testPullFailures},
		{"PullCredentials", testPullCredentials},
		{"PullAlways", testPullAlways},
		{"Prune", testPrune},
		{"Logs", testLogs},
		{"LogsFollow", testLogsFollow},
		{"Watch", testWatch},
		{"Secrets", testSecrets},
		{"Commands", testCommands},
		{"Conformance", testConformance},
		{"EngineDown", testEngineDown},
		{"Reboot", testReboot},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, h) })
	}
}
