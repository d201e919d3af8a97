package kube_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestDevicesAreShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register("pi-1", contracts.Labels{"site": "paris"})
	w.register("pi-2", nil)
	require.NoError(t, w.fleet.Device("pi-1").Info(t.Context(), contracts.DeviceInfo{
		Labels: contracts.Labels{"arch": "arm64"}, AgentVersion: "1.2.3", Inventory: contracts.Inventory{Model: "Pi 5", CPUs: 4},
	}))
	w.report("pi-1", 1, contracts.PhaseRunning, "web")
	w.following()

	w.eventually(func() bool { d := w.device("pi-1"); return d != nil && d.Status.Workloads == "1/1" }, "pi-1 is shown")
	device := w.device("pi-1")
	assert.Equal(t, map[string]string{
		"site": "paris", "device.fleet.nationtech.io/arch": "arm64", "fleet.nationtech.io/device": "pi-1",
	}, device.Labels, "the labels that selectors see")
	assert.Equal(t, "1.2.3", device.Status.AgentVersion)
	assert.Equal(t, "Pi 5", device.Status.Inventory.Model)
	assert.Equal(t, device.Generation, device.Status.ObservedGeneration)
	assert.True(t, is(device.Status.Conditions, v1alpha1.DeviceOnline, metav1.ConditionTrue, "Online"))
	assert.True(t, is(device.Status.Conditions, v1alpha1.DeviceReady, metav1.ConditionTrue, "Running"))

	w.report("pi-1", 2, contracts.PhaseFailed, "web")
	w.eventually(func() bool {
		return is(w.device("pi-1").Status.Conditions, v1alpha1.DeviceReady, metav1.ConditionFalse, "Failing")
	}, "the failure is shown")
	out, err := w.env.Kubectl(t.Context(), nil, "get", "fleetdev", "pi-1", "-n", w.namespace, "-o", "wide")
	require.NoError(t, err)
	assert.Contains(t, out, "web Failed ImagePullFailed: no such image")

	_, err = domain.UpdateDevice(t.Context(), w.fleet.Devices(), "pi-1", func(d *domain.FleetDevice) error { d.Revoked = true; return nil })
	require.NoError(t, err)
	w.eventually(func() bool {
		return is(w.device("pi-1").Status.Conditions, v1alpha1.DeviceReady, metav1.ConditionFalse, "Revoked")
	}, "the revocation is shown")

	record, err := w.fleet.Devices().Get(t.Context(), "pi-2")
	require.NoError(t, err)
	require.NoError(t, w.fleet.Devices().Delete(t.Context(), "pi-2", record.Revision))
	w.eventually(func() bool { return w.device("pi-2") == nil }, "a removed device is not shown")
}

func TestEditsAndDeletionsArePutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register("pi-1", contracts.Labels{"site": "paris"})
	w.applyByCLI("web", "60")
	w.progress("web", 1, 1, 1)
	w.following()
	w.eventually(func() bool {
		d, p := w.device("pi-1"), w.deployment("web")
		return d != nil && len(d.Status.Conditions) > 0 && p != nil && p.Status.Ready == "1/1"
	}, "all is shown")
	want, wanted := w.device("pi-1"), w.deployment("web")
	assert.Equal(t, "cli", wanted.Status.Origin)

	edited := want.DeepCopy()
	edited.Labels = map[string]string{"site": "lyon", "more": "x"}
	edited.Spec.Revoked = true
	require.NoError(t, w.client.Update(t.Context(), edited))
	edited.Status.Workloads = "9/9"
	edited.Status.Conditions = append(edited.Status.Conditions, metav1.Condition{
		Type: "Mine", Status: metav1.ConditionTrue, Reason: "Mine", LastTransitionTime: metav1.Now(),
	})
	_ = w.client.Status().Update(t.Context(), edited) // may have been put back already
	changed := wanted.DeepCopy()
	changed.Spec.Score.Data.Services[0].Args = []string{"9"}
	changed.Spec.TargetSelector.MatchLabels["more"] = "x"
	require.NoError(t, w.client.Update(t.Context(), changed))
	w.eventually(func() bool {
		d, p := w.device("pi-1"), w.deployment("web")
		return assert.ObjectsAreEqual(want.Labels, d.Labels) && assert.ObjectsAreEqual(want.Spec, d.Spec) &&
			d.Status.Workloads == "" && len(d.Status.Conditions) == 2 && assert.ObjectsAreEqual(wanted.Spec, p.Spec)
	}, "edits are put back")
	assert.Equal(t, deploymentSpec("60"), w.stored("web").Spec, "the fleet does not notice")

	require.NoError(t, w.client.DeleteAllOf(t.Context(), &v1alpha1.Device{}, client.InNamespace(w.namespace)))
	require.NoError(t, w.client.DeleteAllOf(t.Context(), &v1alpha1.Deployment{}, client.InNamespace(w.namespace)))
	w.eventually(func() bool {
		d, p := w.device("pi-1"), w.deployment("web")
		return d != nil && d.UID != want.UID && p != nil && p.UID != wanted.UID && p.Status.Ready == "1/1"
	}, "deletions are put back")
	require.NotNil(t, w.stored("web"))
}

func TestOrphansAreCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register("pi-1", nil)
	w.applyByCLI("web", "60")
	stop := w.following()
	w.eventually(func() bool { return w.device("pi-1") != nil && w.deployment("web") != nil }, "all is shown")
	stop()

	// While nobody looks, both go, and somebody invents a device.
	record, err := w.fleet.Devices().Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.NoError(t, w.fleet.Devices().Delete(t.Context(), "pi-1", record.Revision))
	require.NoError(t, w.fleet.Deployments().Delete(t.Context(), "web", w.stored("web").Revision))
	require.NoError(t, w.client.Create(t.Context(), &v1alpha1.Device{ObjectMeta: metav1.ObjectMeta{Name: "ghost", Namespace: w.namespace}}))

	w.following()
	w.eventually(func() bool {
		return w.device("pi-1") == nil && w.device("ghost") == nil && w.deployment("web") == nil
	}, "what is not in the fleet is not shown")
}

func TestDevicesAreChosen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register("pi-1", contracts.Labels{"site": "paris"})
	w.register("pi-2", contracts.Labels{"site": "lyon"})
	stop := w.following()
	w.eventually(func() bool { return w.device("pi-1") != nil && w.device("pi-2") != nil }, "all are shown")
	stop()

	for filter, shown := range map[string][2]bool{"site=paris": {true, false}, "none": {false, false}, "all": {true, true}} {
		var err error
		w.options.Devices, err = kube.ParseDeviceFilter(filter)
		require.NoError(t, err)
		stop := w.following()
		w.eventually(func() bool { return [2]bool{w.device("pi-1") != nil, w.device("pi-2") != nil} == shown }, filter)
		stop()
	}
	_, err := kube.ParseDeviceFilter("site in paris")
	require.ErrorContains(t, err, "such as")
}

// A device is offline after three heartbeats, but an operator that has just
// begun to listen does not say so, and leaves what is shown.
func TestSilenceIsShownOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register("pi-1", nil)
	w.register("pi-2", nil)
	w.heartbeat("pi-1", 1)
	w.options.HeartbeatInterval = time.Second
	stop := w.following()
	online := func(name string) *metav1.Condition {
		if d := w.device(name); d != nil {
			for _, c := range d.Status.Conditions {
				if c.Type == v1alpha1.DeviceOnline {
					return &c
				}
			}
		}
		return nil
	}
	w.eventually(func() bool { c := online("pi-1"); return c != nil && c.Reason == "Online" }, "online")
	w.eventually(func() bool { c := online("pi-1"); return c.Reason == "Offline" }, "offline")
	w.eventually(func() bool { c := online("pi-2"); return c != nil && c.Reason == "NeverSeen" }, "never seen")
	stop()
	before := online("pi-2")
	w.options.HeartbeatInterval = time.Hour
	w.following()
	w.register("pi-3", nil)
	w.eventually(func() bool { c := online("pi-3"); return c != nil && c.Status == metav1.ConditionUnknown }, "nobody can tell")
	assert.Equal(t, before, online("pi-2"))
}
