package kube_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/nationtech/harmony-fleet/contracts"
)

// computed is what Argo CD, Flux and others make of a Deployment.
func (w *world) computed(name string) status.Status {
	w.t.Helper()
	deployment := w.deployment(name)
	if deployment == nil {
		return status.NotFoundStatus
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(deployment)
	require.NoError(w.t, err)
	resource := &unstructured.Unstructured{Object: object}
	resource.SetAPIVersion(contracts.APIVersion)
	resource.SetKind(contracts.KindDeployment)
	result, err := status.Compute(resource)
	require.NoError(w.t, err)
	return result.Status
}

func TestKstatusUnderstands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.following()
	is := func(name string, want status.Status) {
		t.Helper()
		w.eventually(func() bool { return w.computed(name) == want }, want.String())
	}
	w.applyByPeople("web", "60")
	is("web", status.InProgressStatus)
	w.eventually(func() bool { return w.stored("web") != nil }, "it is in the fleet")
	w.progress("web", 1, 1, 2)
	w.eventually(func() bool { return w.deployment("web").Status.Ready == "1/2" }, "progress is shown")
	assert.Equal(t, status.InProgressStatus, w.computed("web"))
	w.progress("web", 1, 2, 2)
	is("web", status.CurrentStatus)

	w.applyByPeople("web", "61")
	assert.NotEqual(t, status.CurrentStatus, w.computed("web"), "from the first moment")
	w.eventually(func() bool { return w.stored("web").Generation == 2 }, "it is taken in")
	assert.NotEqual(t, status.CurrentStatus, w.computed("web"))
	w.progress("web", 2, 2, 2)
	is("web", status.CurrentStatus)

	w.applyByPeople("web", "{{ .nonsense }}")
	is("web", status.FailedStatus)

	failed, err := w.fleet.Statuses().Get(t.Context(), "web")
	require.NoError(t, err)
	failed.Running, failed.Failed = 1, 1
	for i := range failed.Conditions {
		c := &failed.Conditions[i]
		c.Reason, c.Status = "DevicesFailing", contracts.ConditionFalse
		if c.Type == contracts.ConditionStalled {
			c.Status, c.Message = contracts.ConditionTrue, "on pi-1: ImagePullFailed"
		}
	}
	w.applyByPeople("web", "61")
	is("web", status.CurrentStatus)
	require.NoError(t, w.fleet.Statuses().Put(t.Context(), "web", failed))
	is("web", status.FailedStatus)

	require.NoError(t, w.client.Delete(t.Context(), w.deployment("web")))
	is("web", status.TerminatingStatus)
	require.NoError(t, w.fleet.Statuses().Delete(t.Context(), "web"))
	is("web", status.NotFoundStatus)

	w.applyByCLI("app", "60")
	w.progress("app", 1, 1, 1)
	is("app", status.CurrentStatus)
}

// The real kubectl applies, prints and waits.
func TestKubectl(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.following()
	kubectl := func(stdin string, args ...string) string {
		t.Helper()
		out, err := w.env.Kubectl(t.Context(), []byte(stdin), append(args, "-n", w.namespace)...)
		require.NoError(t, err)
		return out
	}
	manifest := `apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: web}
spec:
  targetSelector: {matchLabels: {site: paris}}
  score: {type: PodmanV0, data: {services: [{name: web, image: "registry.example/web:1", ports: ["8080:80"]}]}}
`
	kubectl(manifest, "apply", "-f", "-")
	w.eventually(func() bool { return w.stored("web") != nil }, "it is in the fleet")

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	waited := make(chan error, 1)
	go func() {
		_, err := w.env.Kubectl(ctx, nil, "wait", "fleetdep/web", "--for=condition=Available", "--timeout=60s", "-n", w.namespace)
		waited <- err
	}()
	w.progress("web", 1, 1, 3)
	w.eventually(func() bool { return w.deployment("web").Status.Ready == "1/3" }, "progress is shown")
	assert.Contains(t, kubectl("", "get", "fleetdep", "web"), "1/3")
	select {
	case err := <-waited:
		t.Fatalf("it does not wait: %v", err)
	case <-time.After(100 * time.Millisecond): // there is nothing to wait for that says it goes on waiting
	}
	w.progress("web", 1, 3, 3)
	require.NoError(t, <-waited)

	table := kubectl("", "get", "fleetdep")
	assert.Regexp(t, `NAME +READY +UP-TO-DATE +FAILING +OFFLINE +STATUS +ORIGIN +AGE`, table)
	assert.Regexp(t, `web +3/3 +3 +0 +0 +Complete +kubernetes`, table)

	_, err := w.env.Kubectl(t.Context(), []byte(`apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: typo}
spec:
  targetSelector: {}
  score: {type: PodmanV0, data: {services: [{name: web, imgae: nginx}]}}
`), "apply", "-f", "-", "-n", w.namespace)
	require.ErrorContains(t, err, "imgae", "a typing error is refused at once, by its name")

	require.NoError(t, w.fleet.Statuses().Delete(t.Context(), "web"))
	kubectl("", "delete", "fleetdep", "web", "--timeout=60s")
	require.Nil(t, w.stored("web"))
}
