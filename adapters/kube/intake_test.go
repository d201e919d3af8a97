package kube_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestDeploymentsOfPeopleAreTakenIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.following()
	w.applyByPeople("web", "60")
	w.eventually(func() bool { return w.stored("web") != nil }, "it is in the fleet")
	stored := w.stored("web")
	assert.Equal(t, contracts.OriginKubernetes, stored.Origin)
	assert.Equal(t, deploymentSpec("60"), stored.Spec)
	assert.Contains(t, w.deployment("web").Finalizers, v1alpha1.Finalizer)
	w.eventually(func() bool {
		d := w.deployment("web")
		return is(d.Status.Conditions, v1alpha1.DeploymentReconciling, metav1.ConditionTrue, "Accepted") && d.Status.Origin == "kubernetes"
	}, "it is accepted")

	w.progress("web", 1, 2, 3)
	w.eventually(func() bool { return w.deployment("web").Status.Ready == "2/3" }, "its progress is shown")
	w.progress("web", 1, 3, 3)
	w.eventually(func() bool {
		return is(w.deployment("web").Status.Conditions, v1alpha1.DeploymentReady, metav1.ConditionTrue, "Complete")
	}, "it is ready")

	changed := w.applyByPeople("web", "61")
	w.eventually(func() bool { return w.stored("web").Generation == 2 }, "a change is taken in")
	w.eventually(func() bool {
		return is(w.deployment("web").Status.Conditions, v1alpha1.DeploymentReady, metav1.ConditionFalse, "Accepted")
	}, "what is shown is not about the new spec yet")
	w.progress("web", 2, 3, 3)
	w.eventually(func() bool { return w.deployment("web").Status.ObservedGeneration == changed.Generation }, "now it is")

	// The resource stays until the fleet has let go.
	require.NoError(t, w.client.Delete(t.Context(), w.deployment("web")))
	w.eventually(func() bool { return w.stored("web") == nil }, "it is withdrawn")
	w.eventually(func() bool {
		return is(w.deployment("web").Status.Conditions, v1alpha1.DeploymentReconciling, metav1.ConditionTrue, "Removing")
	}, "its removal is shown")
	require.NoError(t, w.fleet.Statuses().Delete(t.Context(), "web"))
	w.eventually(func() bool { return w.deployment("web") == nil }, "it is gone")
}

func TestWhatTheFleetRefusesIsStalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.following()
	good := w.applyByPeople("web", "60")
	w.eventually(func() bool { return w.stored("web") != nil }, "it is in the fleet")
	w.progress("web", 1, 1, 1)
	w.eventually(func() bool {
		return is(w.deployment("web").Status.Conditions, v1alpha1.DeploymentReady, metav1.ConditionTrue, "")
	}, "it is ready")

	bad := w.applyByPeople("web", "{{ .device.colour }}")
	w.eventually(func() bool {
		d := w.deployment("web")
		return is(d.Status.Conditions, v1alpha1.DeploymentStalled, metav1.ConditionTrue, "Invalid") && d.Status.ObservedGeneration == bad.Generation
	}, "it is stalled")
	d := w.deployment("web")
	assert.True(t, is(d.Status.Conditions, v1alpha1.DeploymentReady, metav1.ConditionFalse, "Invalid"))
	for _, c := range d.Status.Conditions {
		switch c.Type {
		case v1alpha1.DeploymentStalled:
			assert.Contains(t, c.Message, ".device.colour", "it says why")
		case v1alpha1.DeploymentAvailable:
			assert.Equal(t, metav1.ConditionTrue, c.Status, "what ran goes on")
			assert.Equal(t, good.Generation, c.ObservedGeneration)
		}
	}
	assert.Equal(t, deploymentSpec("60"), w.stored("web").Spec)

	w.applyByPeople("web", "60")
	w.eventually(func() bool {
		return is(w.deployment("web").Status.Conditions, v1alpha1.DeploymentReady, metav1.ConditionTrue, "")
	}, "corrected")
}

func TestTwoManagersOfOneNameAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.applyByPeople("web", "60") // nobody has taken it in yet
	cli := w.applyByCLI("web", "1")
	w.following()
	w.eventually(func() bool {
		return is(w.deployment("web").Status.Conditions, v1alpha1.DeploymentStalled, metav1.ConditionTrue, "ManagedElsewhere")
	}, "the conflict is shown")
	assert.Equal(t, cli.Spec, w.stored("web").Spec, "the fleet does not notice")

	// It goes without harm to the other.
	require.NoError(t, w.client.Delete(t.Context(), w.deployment("web")))
	w.eventually(func() bool { d := w.deployment("web"); return d != nil && d.Status.Origin == "cli" }, "now the other is shown")
	require.NotNil(t, w.stored("web"))

	// The other way round the fleet itself refuses.
	w.applyByPeople("app", "60")
	w.eventually(func() bool { return w.stored("app") != nil }, "it is in the fleet")
	_, _, err := domain.ApplyDeployment(t.Context(), w.fleet.Deployments(), domain.FleetDeployment{Name: "app", Spec: deploymentSpec("1")})
	require.ErrorIs(t, err, domain.ErrConflict)

	// A conflict ends when the other is gone.
	w.applyByCLI("job", "1")
	w.eventually(func() bool { return w.deployment("job") != nil }, "it is shown")
	require.NoError(t, w.fleet.Deployments().Delete(t.Context(), "job", w.stored("job").Revision))
	w.eventually(func() bool { return w.deployment("job") == nil }, "it is not shown any more")
	w.applyByPeople("job", "2")
	w.eventually(func() bool { s := w.stored("job"); return s != nil && s.Origin == contracts.OriginKubernetes }, "it is taken in")
}

// What was copied from a resource that is shown does not make one that is.
func TestACopyIsTakenIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.applyByCLI("web", "60")
	w.following()
	w.eventually(func() bool { return w.deployment("web") != nil }, "it is shown")
	text, err := w.env.Kubectl(t.Context(), nil, "get", "fleetdep", "web", "-n", w.namespace, "-o", "yaml")
	require.NoError(t, err)
	other := newWorld(t)
	other.following()
	shown := w.deployment("web")
	copied := &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: other.namespace, Annotations: shown.Annotations, Labels: shown.Labels},
		Spec:       shown.Spec,
	}
	assert.Contains(t, text, v1alpha1.OriginAnnotation)
	require.NoError(t, other.client.Create(t.Context(), copied))
	other.eventually(func() bool { s := other.stored("web"); return s != nil && s.Origin == contracts.OriginKubernetes }, "it is taken in")
}

// Only a deletion that the bridge sees withdraws a deployment.
func TestAResourceThatVanishesIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.following()
	before := w.applyByPeople("web", "60")
	w.eventually(func() bool { return w.stored("web") != nil }, "it is in the fleet")
	stop()
	resource := w.deployment("web")
	resource.Finalizers = nil
	require.NoError(t, w.client.Update(t.Context(), resource))
	require.NoError(t, w.client.Delete(t.Context(), resource))
	require.Nil(t, w.deployment("web"))

	w.following()
	w.eventually(func() bool { return w.deployment("web") != nil }, "it is made again")
	assert.NotEqual(t, before.UID, w.deployment("web").UID)
	assert.Equal(t, before.Spec, w.deployment("web").Spec)
	// It is people's own: it can be changed and withdrawn.
	w.applyByPeople("web", "61")
	w.eventually(func() bool { return w.stored("web").Generation == 2 }, "a change is taken in")
	require.NoError(t, w.client.Delete(t.Context(), w.deployment("web")))
	w.eventually(func() bool { return w.stored("web") == nil && w.deployment("web") == nil }, "it is withdrawn")
}

func TestDeletedWhileNobodyLooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.following()
	w.applyByPeople("web", "60")
	w.eventually(func() bool { return w.stored("web") != nil }, "it is in the fleet")
	stop()
	require.NoError(t, w.client.Delete(t.Context(), w.deployment("web")))
	require.NotNil(t, w.deployment("web"), "it waits for the fleet")
	w.applyByPeople("app", "60")
	w.following()
	w.eventually(func() bool { return w.stored("web") == nil && w.deployment("web") == nil && w.stored("app") != nil }, "both agree again")
}

func TestFinalizerIsPutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.following()
	w.applyByPeople("web", "60")
	w.eventually(func() bool { return w.stored("web") != nil }, "it is in the fleet")
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	require.NoError(t, w.client.Patch(t.Context(), w.deployment("web"), patch))
	w.eventually(func() bool { return len(w.deployment("web").Finalizers) == 1 }, "it is put back")
}
