package kube_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// line is a connection to the API server that can be cut.
type line struct {
	target string

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	l := &line{target: target}
	require.NoError(t, l.listen("127.0.0.1:0"))
	t.Cleanup(l.cut)
	return l
}

func (l *line) listen(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.listener = listener
	l.mu.Unlock()
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", l.target)
			if err != nil {
				_ = near.Close()
				continue
			}
			l.mu.Lock()
			l.conns = append(l.conns, near, far)
			l.mu.Unlock()
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		}
	}()
	return nil
}

func (l *line) address() string { return l.listener.Addr().String() }

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.listener.Close()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

func (l *line) mend(t *testing.T) {
	t.Helper()
	require.NoError(t, l.listen(l.address()))
}

// kubeconfig writes the access to a cluster into a file.
func kubeconfig(t *testing.T, config *rest.Config, server string) string {
	t.Helper()
	file := api.NewConfig()
	file.Clusters["c"] = &api.Cluster{Server: server, CertificateAuthorityData: config.CAData}
	file.AuthInfos["u"] = &api.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	file.Contexts["x"] = &api.Context{Cluster: "c", AuthInfo: "u"}
	file.CurrentContext = "x"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*file, path))
	return path
}

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
	server, err := url.Parse(env.Config().Host)
	require.NoError(t, err)
	var cable *line
	var table strings.Builder
	fmt.Fprintf(&table, "%-34s %-14s %s\n", "failure", "step", "error")
	for _, c := range []failure{
		{
			name: "API server down", kind: domain.ErrUnavailable,
			inject: func(t *testing.T, f *fixture) ([]deploy.Resource, deploy.Options) {
				t.Helper()
				cable = newLine(t, server.Host)
				f.reach(t, kubeconfig(t, env.Config(), "https://"+cable.address()))
				cable.cut()
				return f.bringUp(), once
			},
			mend: func(t *testing.T, _ *fixture) { t.Helper(); cable.mend(t) },
		},
		{
			name: "API server goes away in between", kind: domain.ErrUnavailable, secret: true,
			inject: func(t *testing.T, f *fixture) ([]deploy.Resource, deploy.Options) {
				t.Helper()
				cable = newLine(t, server.Host)
				f.reach(t, kubeconfig(t, env.Config(), "https://"+cable.address()))
				options := once
				options.Companions = []deploy.Companion{{Observe: func(event deploy.Event) {
					if strings.HasPrefix(event.Step, "Secret") && event.State == deploy.StateChanged {
						cable.cut()
					}
				}}}
				return f.bringUp(), options
			},
			mend: func(t *testing.T, _ *fixture) { t.Helper(); cable.mend(t) },
		},
		{
			name: "secret unreadable", kind: domain.ErrPermissionDenied,
			inject: func(t *testing.T, f *fixture) ([]deploy.Resource, deploy.Options) {
				t.Helper()
				_, err := env.Kubectl(t.Context(), nil, "create", "rolebinding", "view", "-n", f.namespace, "--clusterrole=view", "--user=deployer")
				require.NoError(t, err)
				_, err = env.Kubectl(t.Context(), []byte(namespaceReader), "apply", "-f", "-")
				require.NoError(t, err)
				user := env.UserConfig(t, "deployer")
				f.reach(t, kubeconfig(t, user, user.Host))
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
