package kube_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// failure is one that is injected.
type failure struct {
	name string
	// inject returns the resources that fail, and the rest of the options.
	inject func(t *testing.T, f *fixture) ([]deploy.Resource, deploy.Options)
	kind   error
	// secret says whether the secret must be there afterwards; whole, if it is.
	secret bool
	mend   func(t *testing.T, f *fixture)
}

// TestFailuresAreNamedAndResumed injects a failure at each step of a bring-up,
// looks at what is left, and goes on after it was mended.
func TestFailuresAreNamedAndResumed(t *testing.T) {
	env := cluster.Get(t)
	var cable *kubetest.Line
	var table strings.Builder
	fmt.Fprintf(&table, "%-34s %-14s %s\n", "failure", "step", "error")
	for _, c := range []failure{
		{
			name: "API server down", kind: domain.ErrUnavailable,
			inject: func(t *testing.T, f *fixture) ([]deploy.Resource, deploy.Options) {
				t.Helper()
				cable = env.Line(t)
				f.reach(t, cable.Kubeconfig)
				cable.Cut()
				return f.bringUp(), once
			},
			mend: func(t *testing.T, _ *fixture) { t.Helper(); cable.Mend(t) },
		},
		{
			name: "API server goes away in between", kind: domain.ErrUnavailable, secret: true,
			inject: func(t *testing.T, f *fixture) ([]deploy.Resource, deploy.Options) {
				t.Helper()
				cable = env.Line(t)
				f.reach(t, cable.Kubeconfig)
				options := once
				options.Companions = []deploy.Companion{{Observe: func(event deploy.Event) {
					if strings.HasPrefix(event.Step, "Secret") && event.State == deploy.StateChanged {
						cable.Cut()
					}
				}}}
				return f.bringUp(), options
			},
			mend: func(t *testing.T, _ *fixture) { t.Helper(); cable.Mend(t) },
		},
		{
			name: "secret unreadable", kind: domain.ErrPermissionDenied,
			inject: func(t *testing.T, f *fixture) ([]deploy.Resource, deploy.Options) {
				t.Helper()
				_, err := env.Kubectl(t.Context(), nil, "create", "rolebinding", "view", "-n", f.namespace, "--clusterrole=view", "--user=deployer")
				require.NoError(t, err)
				_, err = env.Kubectl(t.Context(), []byte(namespaceReader), "apply", "-f", "-")
				require.NoError(t, err)
				f.reach(t, kubetest.WriteKubeconfig(t, env.UserConfig(t, "deployer")))
				return f.bringUp(), once
			},
			mend: func(t *testing.T, f *fixture) { t.Helper(); f.reach(t, env.Kubeconfig) },
		},
		{
			name: "chart missing", kind: domain.ErrNotFound, secret: true,
			inject: func(t *testing.T, f *fixture) ([]deploy.Resource, deploy.Options) {
				t.Helper()
				require.NoError(t, os.Rename(filepath.Join(f.charts, "index.yaml"), filepath.Join(f.charts, "gone.yaml")))
				return f.bringUp(), once
			},
			mend: func(t *testing.T, f *fixture) {
				t.Helper()
				require.NoError(t, os.Rename(filepath.Join(f.charts, "gone.yaml"), filepath.Join(f.charts, "index.yaml")))
			},
		},
		{
			name: "pod never ready", kind: nil, secret: true,
			inject: func(t *testing.T, f *fixture) ([]deploy.Resource, deploy.Options) {
				t.Helper()
				resources := f.bringUp()
				broken := f.release("1.0.0", map[string]any{"node": "nowhere"})
				broken.Timeout = 2 * time.Second
				resources[len(resources)-1] = broken
				return resources, once
			},
			mend: func(*testing.T, *fixture) {},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			resources, options := c.inject(t, f)
			outcome, err := job(f.topology, resources...).Apply(t.Context(), options)
			require.Error(t, err)
			if c.kind != nil {
				require.ErrorIs(t, err, c.kind)
			}
			found, ok := errors.AsType[*deploy.Error](err)
			require.True(t, ok)
			require.NotEmpty(t, found.Next)
			require.NotContains(t, err.Error(), "s3cret")
			require.NotEmpty(t, outcome.Steps)
			step, _, _ := strings.Cut(found.Step, " ")
			fmt.Fprintf(&table, "%-34s %-14s %v; next: %s\n", c.name, step, strings.ReplaceAll(found.Cause.Error(), f.namespace, "fleet"), found.Next)

			secret, err := f.client.CoreV1().Secrets(f.namespace).Get(t.Context(), "key", metav1.GetOptions{})
			require.Equal(t, c.secret, err == nil)
			if c.secret {
				require.Equal(t, map[string][]byte{"one": []byte("s3cret"), "two": []byte("s3cret")}, secret.Data)
			}
			c.mend(t, f)
			_, err = job(f.topology, f.bringUp()...).Apply(t.Context(), once)
			require.NoError(t, err)
			require.Equal(t, "hello from 1.0.0", f.greeting(t))
			outcome, err = job(f.topology, f.bringUp()...).Apply(t.Context(), once)
			require.NoError(t, err)
			require.Zero(t, outcome.Changed())
		})
	}
	t.Log("\n" + table.String())
}

// namespaceReader lets the user see that the namespace is there.
const namespaceReader = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: namespaces}
rules: [{apiGroups: [""], resources: [namespaces], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: namespaces}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: namespaces}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: deployer}]
`

// bringUp is a Score's worth of resources.
func (f *fixture) bringUp() []deploy.Resource {
	return []deploy.Resource{
		kube.Requirement{Cluster: f.topology},
		&kube.Namespace{Objects: f.topology, Name: f.namespace},
		&kube.Secret{Objects: f.topology, Namespace: f.namespace, Name: "key", Data: map[string][]byte{"one": []byte("s3cret"), "two": []byte("s3cret")}},
		f.release("1.0.0", nil),
	}
}

func (f *fixture) reach(t *testing.T, path string) {
	t.Helper()
	opened, err := kube.New(kube.Config{Kubeconfig: path})
	require.NoError(t, err)
	f.topology = opened
}

func TestKubeconfigThatIsWrongIsNamed(t *testing.T) {
	_, err := kube.New(kube.Config{Kubeconfig: "/nonexistent/kubeconfig"})
	require.ErrorContains(t, err, "/nonexistent/kubeconfig")
	require.Error(t, err)
	_, err = kube.New(kube.Config{Kubeconfig: cluster.Get(t).Kubeconfig, Context: "none"})
	require.ErrorIs(t, err, domain.ErrInvalid)
	require.ErrorContains(t, err, `"none"`)
}
