package kube_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// What is missing must not look like another operator that leads, and the
// problem says what to run.
func TestWhatIsMissingIsSaid(t *testing.T) {
	t.Parallel()
	problem := func(w *world, want string) {
		t.Helper()
		began := time.Now()
		bridge, stop := w.start()
		defer stop()
		assert.WithinDuration(t, began, bridge.Status().Since, patience, "a phase has a beginning")
		w.eventually(func() bool { return bridge.Status().Problem != "" }, "there is a problem")
		s := bridge.Status()
		assert.Equal(t, kube.PhaseConnecting, s.Phase)
		assert.Contains(t, s.Problem, want)
		assert.Contains(t, s.Problem, "`fleet-operator manifests --namespace "+w.options.Namespace+" | kubectl apply -f -`")
	}

	rightless := newWorld(t)
	require.NoError(t, rightless.client.Delete(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "bridge", Namespace: rightless.namespace}}))
	rightless.eventually(func() bool {
		_, err := rightless.env.Kubectl(t.Context(), nil, "auth", "can-i", "list", "devices.fleet.nationtech.io",
			"-n", rightless.namespace, "--as", "bridge-"+rightless.namespace)
		return err != nil
	}, "the rights are gone")
	problem(rightless, "not allowed to list De")

	nowhere := newWorld(t)
	nowhere.config = rest.CopyConfig(nowhere.env.Config())
	nowhere.options.Namespace = "nowhere"
	problem(nowhere, "namespace nowhere does not exist: run `kubectl create namespace nowhere`")
}

func TestANamespaceThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"", "Fleet", "a/b", "a.b"} {
		_, err := kube.New(&rest.Config{}, kube.Capabilities{}, kube.Options{Namespace: namespace})
		require.ErrorIs(t, err, domain.ErrInvalid, "%q", namespace)
	}
}

func TestWhoeverEditsADeploymentOfTheCLIIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.applyByCLI("web", "60")
	w.following()
	w.eventually(func() bool { return w.deployment("web") != nil }, "it is shown")
	w.applyByCLI("web", "61")
	w.eventually(func() bool { return w.deployment("web").Spec.Score.Data.Services[0].Args[0] == "61" }, "the change is shown")

	_, err := w.env.Kubectl(t.Context(), nil, "patch", "fleetdep/web", "-n", w.namespace, "--type=merge", "--field-manager=somebody",
		"-p", `{"spec":{"score":{"data":{"lifecycle":{"gracePeriodSeconds":77}}}}}`)
	require.NoError(t, err)
	var told []string
	w.eventually(func() bool {
		told = nil
		for _, event := range w.events() {
			if event.Reason == "EditPutBack" {
				told = append(told, event.Type+" "+event.InvolvedObject.Name+" "+event.Message)
			}
		}
		return len(told) > 0
	}, "an Event tells")
	assert.Equal(t, []string{
		`Warning web an edit by "somebody" was put back: this deployment was made with the fleet command; change it there, or delete it there first`,
	}, told, "and none about the change by the fleet command")
}
