package kube_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony-fleet/contracts"
)

func TestWhatHappenedIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register("pi-1", nil)
	w.applyByCLI("web", "60")
	w.following()
	w.eventually(func() bool { return w.device("pi-1") != nil && w.deployment("web") != nil }, "all is shown")
	happens := func(event contracts.Event) {
		t.Helper()
		event.Time = time.Now()
		require.NoError(t, w.fleet.Events().Append(t.Context(), event))
	}
	about := func(kind, name, reason string) []corev1.Event {
		var found []corev1.Event
		for _, event := range w.events() {
			if event.InvolvedObject.Kind == kind && event.InvolvedObject.Name == name && event.Reason == reason {
				found = append(found, event)
			}
		}
		return found
	}
	happens(contracts.Event{Kind: contracts.EventDeviceOnline, Device: "pi-1"})
	for i := range 100 { // a crash loop on many devices
		happens(contracts.Event{
			Kind: contracts.EventWorkloadFailed, Deployment: "web", Device: contracts.DeviceID(fmt.Sprintf("pi-%d", i)),
			Reason: "CrashLoop", Message: "exit code 1",
		})
	}
	happens(contracts.Event{Kind: contracts.EventDeviceRevoked, Device: "pi-1", Actor: "cli:ann"})
	w.eventually(func() bool { return len(about("Device", "pi-1", "DeviceRevoked")) == 1 }, "it is told")

	failed := about("Deployment", "web", "WorkloadFailed")
	require.Len(t, failed, 1, "the same thing is counted, not repeated")
	assert.Equal(t, corev1.EventTypeWarning, failed[0].Type)
	assert.Equal(t, "on device pi-0: CrashLoop: exit code 1", failed[0].Message)
	assert.Empty(t, about("Device", "pi-1", "DeviceOnline"), "the resource says it")
	assert.Empty(t, about("Device", "pi-1", "WorkloadFailed"), "the same")
	out, err := w.env.Kubectl(t.Context(), nil, "describe", "fleetdep", "web", "-n", w.namespace)
	require.NoError(t, err)
	assert.Contains(t, out, "CrashLoop: exit code 1")
}

// A recorder that takes over repeats nothing.
func TestWhatWasToldIsNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register("pi-1", nil)
	stop := w.following()
	require.NoError(t, w.fleet.Events().Append(t.Context(), contracts.Event{Time: time.Now(), Kind: contracts.EventDeviceRevoked, Device: "pi-1"}))
	count := func(reason string) (n int) {
		for _, event := range w.events() {
			if event.Reason == reason {
				n++
			}
		}
		return n
	}
	w.eventually(func() bool { return count("DeviceRevoked") == 1 }, "it is told")
	stop()
	w.following()
	require.NoError(t, w.fleet.Events().Append(t.Context(), contracts.Event{
		Time: time.Now().Add(2 * time.Second), Kind: contracts.EventDeviceRestored, Device: "pi-1",
	}))
	w.eventually(func() bool { return count("DeviceRestored") == 1 }, "what follows is told")
	assert.Equal(t, 1, count("DeviceRevoked"))
}
