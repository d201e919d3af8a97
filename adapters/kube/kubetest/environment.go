package kubetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
)

// startTimeout is generous: a loaded machine is no failure.
const startTimeout = 3 * time.Minute

// Options choose what an Environment has. The zero value is an API server with
// the resources of the fleet.
type Options struct {
	// WithoutCRDs leaves the resources of the fleet out.
	WithoutCRDs bool
	// Cluster adds a controller manager, a scheduler and a node whose pods get
	// ready at once.
	Cluster bool
}

// Environment is a running API server, empty but for what Options say.
type Environment struct {
	// Dir holds the programs, kubectl among them.
	Dir string
	// Kubeconfig is a file with an administrator's access.
	Kubeconfig string

	scratch  string
	test     *envtest.Environment
	config   *rest.Config
	children []*child
}

// Start starts an environment; the caller stops it. Tests use Shared instead.
func Start(options Options) (*Environment, error) {
	dir, err := assets()
	if err != nil {
		return nil, err
	}
	// controller-runtime complains when nobody sets its logger.
	ctrllog.SetLogger(logr.Discard())
	scratch, err := os.MkdirTemp("", "kubetest-")
	if err != nil {
		return nil, err
	}
	e := &Environment{Dir: dir, scratch: scratch, Kubeconfig: filepath.Join(scratch, "kubeconfig")}
	if err := e.start(options); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

func (e *Environment) start(options Options) error {
	etcd, err := wrap(e.scratch, filepath.Join(e.Dir, "etcd"))
	if err != nil {
		return err
	}
	server, err := wrap(e.scratch, filepath.Join(e.Dir, "kube-apiserver"))
	if err != nil {
		return err
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	if !options.WithoutCRDs {
		if crds, err = kube.CRDs(); err != nil {
			return err
		}
	}
	attached := false
	e.test = &envtest.Environment{
		UseExistingCluster:       &attached,
		CRDs:                     crds,
		BinaryAssetsDirectory:    e.Dir,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  startTimeout,
	}
	e.test.ControlPlane.Etcd = &envtest.Etcd{Path: etcd}
	e.test.ControlPlane.GetAPIServer().Path = server
	if e.config, err = e.test.Start(); err != nil {
		return err
	}
	// A test decides on its own how fast it is.
	e.config.QPS, e.config.Burst = -1, 0
	if err := os.WriteFile(e.Kubeconfig, e.test.KubeConfig, 0o600); err != nil {
		return err
	}
	if options.Cluster {
		return e.startCluster()
	}
	return nil
}

// Stop ends everything, the API server before its store.
func (e *Environment) Stop() error {
	for _, child := range slices.Backward(e.children) {
		child.stop()
	}
	var err error
	if e.test != nil {
		err = e.test.Stop()
	}
	return errors.Join(err, os.RemoveAll(e.scratch))
}

// Config returns an administrator's access, without a limit of the rate.
func (e *Environment) Config() *rest.Config { return rest.CopyConfig(e.config) }

// UserConfig returns the access of a user who has no rights but those given by
// role bindings.
func (e *Environment) UserConfig(tb testing.TB, name string) *rest.Config {
	tb.Helper()
	user, err := e.test.AddUser(envtest.User{Name: name}, e.Config())
	if err != nil {
		tb.Fatalf("add user %s: %v", name, err)
	}
	return user.Config()
}

// Scheme knows Kubernetes' own resources, CRDs, and those of the fleet.
func Scheme(tb testing.TB) *runtime.Scheme {
	tb.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			tb.Fatalf("scheme: %v", err)
		}
	}
	return scheme
}

// Client returns an administrator's client, which reads without a cache.
func (e *Environment) Client(tb testing.TB) client.WithWatch {
	tb.Helper()
	c, err := client.NewWithWatch(e.Config(), client.Options{Scheme: Scheme(tb)})
	if err != nil {
		tb.Fatalf("client: %v", err)
	}
	return c
}

// Namespace makes a namespace for this test alone and returns its name. It is
// not removed: the environment ends soon.
func (e *Environment) Namespace(tb testing.TB) string {
	tb.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "fleet-"}}
	if err := e.Client(tb).Create(tb.Context(), namespace); err != nil {
		tb.Fatalf("make a namespace: %v", err)
	}
	return namespace.Name
}

// Kubectl runs the real kubectl as an administrator and returns what it
// printed. A failure is returned with what it said.
func (e *Environment) Kubectl(ctx context.Context, stdin []byte, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(e.Dir, "kubectl"), append([]string{"--kubeconfig", e.Kubeconfig}, args...)...)
	command.Env = append(os.Environ(), "HOME="+e.scratch)
	command.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %v: %w: %s", args, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
