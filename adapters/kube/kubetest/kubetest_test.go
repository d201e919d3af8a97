package kubetest_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
)

var cluster = kubetest.NewShared(kubetest.Options{Cluster: true})

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, cluster)) }

func TestPodsGetReady(t *testing.T) {
	env := cluster.Get(t)
	c := env.Client(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: env.Namespace(t)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "example.com/web:1"}}},
	}
	// The controller manager makes the service account of a new namespace.
	require.Eventually(t, func() bool { return c.Create(t.Context(), pod.DeepCopy()) == nil }, time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
			return false
		}
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady {
				return condition.Status == corev1.ConditionTrue
			}
		}
		return false
	}, time.Minute, 50*time.Millisecond)

	out, err := env.Kubectl(t.Context(), nil, "get", "fleet", "-n", pod.Namespace)
	require.NoError(t, err, "the resources of the fleet are known, under their category")
	require.Empty(t, out)
}
