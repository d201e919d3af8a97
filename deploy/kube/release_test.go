package kube_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/domain"
)

// fixture is a release of the chart in a namespace of its own.
type fixture struct {
	topology  *kube.Topology
	client    *kubernetes.Clientset
	namespace string
	url       string
	charts    string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{topology: topology(t), namespace: cluster.Get(t).Namespace(t)}
	var err error
	f.client, err = kubernetes.NewForConfig(cluster.Get(t).Config())
	require.NoError(t, err)
	f.url, f.charts = charttest.Repository(t, web("1.0.0"), web("1.1.0"))
	return f
}

func (f *fixture) release(version string, values map[string]any) *kube.Release {
	return &kube.Release{
		Releases: f.topology, Namespace: f.namespace, Name: "web", Values: values,
		Source: kube.Repository{URL: f.url, Name: "web", Version: version},
	}
}

func (f *fixture) job(version string, values map[string]any) deploy.Job {
	return job(f.topology, f.release(version, values))
}

func (f *fixture) greeting(t *testing.T) string {
	t.Helper()
	found, err := f.client.CoreV1().ConfigMaps(f.namespace).Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	return found.Data["greeting"]
}

func TestReleaseIsInstalledUpgradedAndRemoved(t *testing.T) {
	f := newFixture(t)
	values := map[string]any{"replicas": 2}
	plan, err := f.job("1.0.0", values).Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Equal(t, deploy.ActionCreate, plan.Steps[0].Change.Action)
	require.Equal(t, "install web 1.0.0", plan.Steps[0].Change.Summary)

	outcome, err := f.job("1.0.0", values).Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 1, outcome.Changed())
	pods, err := f.client.CoreV1().Pods(f.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, pods.Items, 2)

	outcome, err = f.job("1.0.0", values).Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, "nothing to change: 1 as they should be, 1 check passed", outcome.Summary())

	plan, err = f.job("1.1.0", values).Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Equal(t, "upgrade from web 1.0.0 to web 1.1.0", plan.Steps[0].Change.Summary)
	values["greeting"] = "s3cret"
	plan, err = f.job("1.0.0", values).Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Equal(t, []string{"values.greeting: is missing"}, plan.Steps[0].Change.Details)

	_, err = f.job("1.1.0", values).Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, "s3cret from 1.1.0", f.greeting(t))

	_, err = f.job("1.1.0", values).Destroy(t.Context(), once)
	require.NoError(t, err)
	outcome, err = f.job("1.1.0", values).Destroy(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 0, outcome.Changed())
	_, err = f.topology.Last(t.Context(), f.namespace, "web")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

func TestReleaseThatNeverGetsReadyIsRolledBack(t *testing.T) {
	f := newFixture(t)
	_, err := f.job("1.0.0", nil).Apply(t.Context(), once)
	require.NoError(t, err)

	broken := f.release("1.1.0", map[string]any{"node": "nowhere"})
	broken.Timeout = 3 * time.Second
	_, err = job(f.topology, broken).Apply(t.Context(), once)
	require.ErrorContains(t, err, "rolled back to revision 1, which runs")
	require.ErrorContains(t, err, "no node takes it")
	require.Equal(t, "hello from 1.0.0", f.greeting(t))

	// The mended one goes on.
	_, err = f.job("1.1.0", nil).Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, "hello from 1.1.0", f.greeting(t))
}

func TestReleaseGoesOnAfterAFailedInstallation(t *testing.T) {
	f := newFixture(t)
	broken := f.release("1.0.0", map[string]any{"node": "nowhere"})
	broken.Timeout = 2 * time.Second
	_, err := job(f.topology, broken).Apply(t.Context(), once)
	require.ErrorContains(t, err, "kubectl get pods,events")
	plan, err := f.job("1.0.0", nil).Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Equal(t, "try again: revision 1 is failed", plan.Steps[0].Change.Summary)
	_, err = f.job("1.0.0", nil).Apply(t.Context(), once)
	require.NoError(t, err)
}

func TestReleaseGoesOnAfterAKill(t *testing.T) {
	f := newFixture(t)
	_, err := f.job("1.0.0", nil).Apply(t.Context(), once)
	require.NoError(t, err)
	// What Helm leaves when its process is killed in an upgrade.
	records, err := f.client.CoreV1().Secrets(f.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	require.NoError(t, err)
	require.Len(t, records.Items, 1)
	interrupt(t, f, release.StatusPendingUpgrade)
	plan, err := f.job("1.0.0", nil).Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Equal(t, "finish what was interrupted", plan.Steps[0].Change.Summary)
	_, err = f.job("1.0.0", nil).Apply(t.Context(), once)
	require.NoError(t, err)
}

func TestDriftIsShownAndUndone(t *testing.T) {
	f := newFixture(t)
	_, err := f.job("1.0.0", nil).Apply(t.Context(), once)
	require.NoError(t, err)
	_, err = cluster.Get(t).Kubectl(t.Context(), nil, "scale", "-n", f.namespace, "deployment/web", "--replicas=3")
	require.NoError(t, err)
	require.NoError(t, f.client.CoreV1().ConfigMaps(f.namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}))

	plan, err := f.job("1.0.0", nil).Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Equal(t, deploy.ActionUpdate, plan.Steps[0].Change.Action)
	require.ElementsMatch(t, []string{
		"ConfigMap " + f.namespace + "/web: is missing",
		"Deployment " + f.namespace + "/web spec.replicas: 3 instead of 1",
	}, plan.Steps[0].Change.Details)

	_, err = f.job("1.0.0", nil).Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, "hello from 1.0.0", f.greeting(t))
	plan, err = f.job("1.0.0", nil).Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Zero(t, plan.Changes())
}

func TestSecretIsWrittenWholeAndNeverShown(t *testing.T) {
	f := newFixture(t)
	secret := &kube.Secret{Objects: f.topology, Namespace: f.namespace, Name: "key", Data: map[string][]byte{"key": []byte("s3cret"), "more": []byte("x")}}
	_, err := job(f.topology, secret).Apply(t.Context(), once)
	require.NoError(t, err)
	secret.Data = map[string][]byte{"key": []byte("0ther")}
	plan, err := job(f.topology, secret).Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Equal(t, []string{"data.key: differs", "data.more: is too much"}, plan.Steps[0].Change.Details)
	_, err = job(f.topology, secret).Apply(t.Context(), once)
	require.NoError(t, err)
	found, err := f.client.CoreV1().Secrets(f.namespace).Get(t.Context(), "key", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"key": []byte("0ther")}, found.Data)
	outcome, err := job(f.topology, secret).Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 0, outcome.Changed())

	// What others made is left alone.
	_, err = f.client.CoreV1().Secrets(f.namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	secret.Name = "theirs"
	_, err = job(f.topology, secret).Apply(t.Context(), once)
	require.ErrorIs(t, err, domain.ErrConflict)
	outcome, err = job(f.topology, secret).Destroy(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 0, outcome.Changed())
}

func TestGeneratedSecretStays(t *testing.T) {
	f := newFixture(t)
	calls := 0
	secret := &kube.Secret{
		Objects: f.topology, Namespace: f.namespace, Name: "key", Keep: "data is encrypted with it",
		Generate: func() (map[string][]byte, error) { calls++; return map[string][]byte{"key": []byte("random")}, nil },
	}
	for range 2 {
		_, err := job(f.topology, secret).Apply(t.Context(), once)
		require.NoError(t, err)
	}
	outcome, err := job(f.topology, secret).Destroy(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, "kept: data is encrypted with it", outcome.Steps[0].Change.Summary)
	require.Equal(t, 1, calls)
}

func TestSecretThatIsTooLargeIsNotQuoted(t *testing.T) {
	f := newFixture(t)
	secret := &kube.Secret{Objects: f.topology, Namespace: f.namespace, Name: "big", Data: map[string][]byte{"key": []byte(strings.Repeat("s3cret", 200_000))}}
	_, err := job(f.topology, secret).Apply(t.Context(), once)
	require.ErrorIs(t, err, domain.ErrInvalid)
	require.NotContains(t, err.Error(), "s3cret")
	_, err = f.client.CoreV1().Secrets(f.namespace).Get(t.Context(), "big", metav1.GetOptions{})
	require.Error(t, err)
}
