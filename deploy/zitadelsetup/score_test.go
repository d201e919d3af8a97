package zitadelsetup_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	adapter "github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/zitadeltest"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/zitadelsetup"
	"github.com/nationtech/harmony-fleet/domain"
)

var once = deploy.Options{Attempts: 1}

// inCluster is a topology whose Zitadel is the emulator, in the place of the
// containers that the cluster lacks.
type inCluster struct {
	*kube.Topology
	emulator *zitadeltest.Emulator
	// refuse, when set, is asked before a Secret is written.
	refuse func(name string) error
}

// Pods implements kube.Forwards.
func (c *inCluster) Pods(context.Context, string, string) ([]string, error) {
	return []string{"zitadel-0"}, nil
}

// Forward implements kube.Forwards.
func (c *inCluster) Forward(_ context.Context, _, _ string, port int) (string, io.Closer, error) {
	if port != 8080 {
		return "", nil, domain.Errorf(domain.ErrUnavailable, "nothing listens on port %d", port)
	}
	return c.emulator.Address(), io.NopCloser(nil), nil
}

// Apply implements kube.Objects.
func (c *inCluster) Apply(ctx context.Context, object *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	if c.refuse != nil && !dryRun && object.GetKind() == "Secret" {
		if err := c.refuse(object.GetName()); err != nil {
			return nil, err
		}
	}
	return c.Topology.Apply(ctx, object, dryRun)
}

// fixture is a namespace with an administrator's token, an emulator and a Score.
type fixture struct {
	topology *inCluster
	client   kubernetes.Interface
	score    *zitadelsetup.FleetZitadelSetupScore
	// said is all that was told of.
	said strings.Builder
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	namespace := cluster.Get(t).Namespace(t)
	emulator, err := zitadeltest.Start(zitadeltest.Options{Issuer: "https://sso.example", Dir: t.TempDir(), Lag: 20 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(emulator.Close)
	opened, err := kube.New(kube.Config{Kubeconfig: cluster.Get(t).Kubeconfig})
	require.NoError(t, err)
	f := &fixture{
		topology: &inCluster{Topology: opened, emulator: emulator},
		score:    &zitadelsetup.FleetZitadelSetupScore{Issuer: emulator.Issuer(), Namespace: namespace},
	}
	f.client, err = kubernetes.NewForConfig(cluster.Get(t).Config())
	require.NoError(t, err)
	return f
}

// admit makes the Secret that the chart makes.
func (f *fixture) admit(t *testing.T) {
	t.Helper()
	_, err := f.client.CoreV1().Secrets(f.score.Namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "iam-admin-pat"}, Data: map[string][]byte{"pat": []byte(f.topology.emulator.AdminToken() + "\n")},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

func (f *fixture) job() deploy.Job {
	return deploy.For[zitadelsetup.Cluster](f.score).On(f.topology)
}

func (f *fixture) options() deploy.Options {
	options := once
	options.Companions = []deploy.Companion{{Observe: func(event deploy.Event) { fmt.Fprintf(&f.said, "%+v\n", event) }}}
	return options
}

func (f *fixture) secret(t *testing.T, name string) map[string][]byte {
	t.Helper()
	found, err := f.client.CoreV1().Secrets(f.score.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return found.Data
}

// secrets are the names of those that there are.
func (f *fixture) secrets(t *testing.T) (names []string) {
	t.Helper()
	found, err := f.client.CoreV1().Secrets(f.score.Namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, secret := range found.Items {
		names = append(names, secret.Name)
	}
	return names
}

// keys is how many keys the operator has at Zitadel.
func (f *fixture) keys(t *testing.T) int {
	t.Helper()
	setup, err := adapter.OpenSetup(t.Context(), adapter.Admin{AccessToken: f.topology.emulator.AdminToken()}, adapter.SetupConfig{
		Issuer: f.score.Issuer, Project: "fleet", DevicePrefix: "fleet-",
	}, adapter.SetupOptions{Through: f.topology.emulator.Address()})
	require.NoError(t, err)
	defer func() { require.NoError(t, setup.Close()) }()
	count, err := setup.CountKeys(t.Context())
	require.NoError(t, err)
	return count
}

func TestFleetZitadelSetupScore(t *testing.T) {
	f := newFixture(t)
	plan, err := f.job().Plan(t.Context(), deploy.Present, f.options())
	require.NoError(t, err, "Zitadel comes later")
	require.Equal(t, 8, plan.Changes())
	_, err = f.score.Identity(t.Context(), f.topology)
	require.ErrorIs(t, err, domain.ErrNotFound)
	_, err = f.job().Apply(t.Context(), once)
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.ErrorContains(t, err, "bring Zitadel up first")

	f.admit(t)
	plan, err = f.job().Plan(t.Context(), deploy.Present, f.options())
	require.NoError(t, err)
	require.Equal(t, 8, plan.Changes())
	require.Equal(t, "make device, operator, viewer", plan.Steps[3].Change.Summary)

	outcome, err := f.job().Apply(t.Context(), f.options())
	require.NoError(t, err)
	require.Equal(t, "8 changed, 2 as they should be, 1 check passed", outcome.Summary())
	require.Equal(t, []string{"fleet-identity-operator", "iam-admin-pat"}, f.secrets(t))
	identity, err := f.score.Identity(t.Context(), f.topology)
	require.NoError(t, err)
	require.Equal(t, zitadelsetup.Identity{
		Issuer: "https://sso.example", OrganizationID: f.topology.emulator.OrganizationID(), ProjectID: identity.ProjectID,
		DevicePrefix: "fleet-", KeySecret: "fleet-identity-operator",
	}, identity)
	require.NotEmpty(t, identity.ProjectID)

	outcome, err = f.job().Apply(t.Context(), f.options())
	require.NoError(t, err)
	require.Equal(t, "nothing to change: 10 as they should be, 1 check passed", outcome.Summary())

	var file struct{ Key string }
	require.NoError(t, json.Unmarshal(f.secret(t, "fleet-identity-operator")[zitadelsetup.KeyFile], &file))
	for _, hidden := range append(strings.Split(file.Key, "\n")[1:2], f.topology.emulator.AdminToken()) {
		require.NotEmpty(t, hidden)
		require.NotContains(t, f.said.String(), hidden)
	}

	outcome, err = f.job().Destroy(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 3, outcome.Changed(), "the ConfigMap, the Secret and the operator")
	require.Equal(t, []string{"iam-admin-pat"}, f.secrets(t))
	outcome, err = f.job().Destroy(t.Context(), once)
	require.NoError(t, err)
	require.Zero(t, outcome.Changed())

	_, err = f.job().Apply(t.Context(), once)
	require.NoError(t, err, "once more")
	again, err := f.score.Identity(t.Context(), f.topology)
	require.NoError(t, err)
	require.Equal(t, identity, again, "the project stayed")
}

// A run ends at each point where a key could be lost. The next one goes on with the
// same key, and nothing is left of the first.
func TestACutNeverLeavesTwoKeys(t *testing.T) {
	cut := errors.New("the process ends here")
	for name, refuse := range map[string]func(f *fixture) func(string) error{
		"before the draft": func(*fixture) func(string) error {
			return func(string) error { return cut }
		},
		"before it is registered": func(f *fixture) func(string) error {
			return func(string) error { f.topology.emulator.Stop(); return nil }
		},
		"before the Secret": func(*fixture) func(string) error {
			return func(name string) error {
				if name == zitadelsetup.KeySecret {
					return cut
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.admit(t)
			f.topology.refuse = refuse(f)
			_, err := f.job().Apply(t.Context(), once)
			require.Error(t, err)
			require.NotContains(t, f.secrets(t), zitadelsetup.KeySecret, "nothing half-written")
			require.NotContains(t, err.Error(), "PRIVATE")

			f.topology.refuse = nil
			require.NoError(t, f.topology.emulator.Restart(t.Context()))
			_, err = f.job().Apply(t.Context(), once)
			require.NoError(t, err)
			require.Equal(t, 1, f.keys(t))
			require.Equal(t, []string{"fleet-identity-operator", "iam-admin-pat"}, f.secrets(t))
			outcome, err := f.job().Apply(t.Context(), once)
			require.NoError(t, err)
			require.Zero(t, outcome.Changed())
		})
	}
}

// What was changed by others is found and put right.
func TestDrift(t *testing.T) {
	f := newFixture(t)
	f.admit(t)
	_, err := f.job().Apply(t.Context(), once)
	require.NoError(t, err)
	first := f.secret(t, zitadelsetup.KeySecret)
	secrets := f.client.CoreV1().Secrets(f.score.Namespace)

	require.NoError(t, secrets.Delete(t.Context(), zitadelsetup.KeySecret, metav1.DeleteOptions{}))
	outcome, err := f.job().Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 1, outcome.Changed())
	second := f.secret(t, zitadelsetup.KeySecret)
	require.NotEqual(t, first, second, "a lost key is replaced")

	// A key that Zitadel does not know any more is one that is lost as well.
	stored, err := adapter.ParseServiceKey(second[zitadelsetup.KeyFile])
	require.NoError(t, err)
	stored.KeyID = "1"
	unknown, err := stored.Encode()
	require.NoError(t, err)
	for name, data := range map[string][]byte{"unknown": unknown, "no key": []byte("{}")} {
		_, err = secrets.Update(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: zitadelsetup.KeySecret, ManagedFields: nil}, Data: map[string][]byte{zitadelsetup.KeyFile: data},
		}, metav1.UpdateOptions{})
		require.NoError(t, err)
		plan, err := f.job().Plan(t.Context(), deploy.Present, once)
		require.NoError(t, err)
		require.Equal(t, 1, plan.Changes(), name)
		_, err = f.job().Apply(t.Context(), once)
		require.NoError(t, err, name)
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	f := newFixture(t)
	f.score.AdminToken = []byte("not-a-token")
	_, err := f.job().Plan(t.Context(), deploy.Present, once)
	require.ErrorIs(t, err, domain.ErrUnauthenticated)
	require.ErrorContains(t, err, "give a new one")
	require.NotContains(t, err.Error(), "not-a-token")

	f.score.AdminToken = []byte(f.topology.emulator.AdminToken())
	f.score.Issuer = "https://other.example"
	_, err = f.job().Plan(t.Context(), deploy.Present, once)
	require.ErrorIs(t, err, domain.ErrInvalid)
	require.ErrorContains(t, err, "the issuer must be exactly the provider's own")

	f.score.Issuer = f.topology.emulator.Issuer()
	f.topology.emulator.Stop()
	started := time.Now()
	_, err = f.job().Plan(t.Context(), deploy.Present, once)
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "see that Zitadel runs and answers as https://sso.example")
	t.Logf("after %s", time.Since(started).Round(time.Second))
}

func TestInputIsChecked(t *testing.T) {
	for says, spoil := range map[string]func(*zitadelsetup.FleetZitadelSetupScore){
		"issuer":        func(s *zitadelsetup.FleetZitadelSetupScore) { s.Issuer = "sso.example" },
		"without a sla": func(s *zitadelsetup.FleetZitadelSetupScore) { s.Issuer += "/" },
		"prefix":        func(s *zitadelsetup.FleetZitadelSetupScore) { s.DevicePrefix = "Fleet" },
		"name \"A\"":    func(s *zitadelsetup.FleetZitadelSetupScore) { s.Namespace = "A" },
		"adminSecret":   func(s *zitadelsetup.FleetZitadelSetupScore) { s.AdminSecret = "A" },
	} {
		score := &zitadelsetup.FleetZitadelSetupScore{Issuer: "https://sso.example"}
		spoil(score)
		_, err := score.Resources(&inCluster{})
		require.ErrorIs(t, err, domain.ErrInvalid, says)
		require.ErrorContains(t, err, says)
	}
}
