package kube

import (
	"context"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// FieldManager owns the fields of what this package applies.
const FieldManager = "fleet-deploy"

const dialTimeout = 10 * time.Second

// Config says how to reach a cluster. The zero value is what kubectl would use,
// or the cluster around this process.
type Config struct {
	// Kubeconfig is a file; empty for KUBECONFIG, ~/.kube/config, or the service
	// account of the pod that this process runs in.
	Kubeconfig string
	// Context is one of the file's; empty for its current one.
	Context string
}

// Topology is a cluster. It connects when it is first used, and may be used by
// several goroutines.
type Topology struct {
	config    *rest.Config
	loader    clientcmd.ClientConfig
	client    *kubernetes.Clientset
	dynamic   dynamic.Interface
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.RESTMapper
}

var (
	_ Cluster  = (*Topology)(nil)
	_ Objects  = (*Topology)(nil)
	_ Releases = (*Topology)(nil)
	_ Forwards = (*Topology)(nil)
)

// New returns the topology of a cluster, without connecting to it.
func New(config Config) (*Topology, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = config.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: config.Context})
	access, err := loader.ClientConfig()
	if err != nil {
		kind := kindOf(err)
		if kind == nil {
			kind = domain.ErrInvalid
		}
		return nil, deploy.WithNext(domain.WrapError(kind, err, "kubeconfig"),
			"name a kubeconfig file that kubectl works with, and one of its contexts")
	}
	access.UserAgent = FieldManager
	access.QPS, access.Burst = 50, 100
	if access.Dial == nil {
		access.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}).DialContext
	}
	t := &Topology{config: access, loader: loader}
	if t.client, err = kubernetes.NewForConfig(access); err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "kubeconfig")
	}
	if t.dynamic, err = dynamic.NewForConfig(access); err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "kubeconfig")
	}
	t.discovery = memory.NewMemCacheClient(t.client.Discovery())
	t.mapper = restmapper.NewDeferredDiscoveryRESTMapper(t.discovery)
	return t, nil
}

// Version implements Cluster.
func (t *Topology) Version(ctx context.Context) (string, error) {
	var found struct {
		GitVersion string `json:"gitVersion"`
	}
	raw, err := t.client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return "", deploy.WithNext(translate(err, "ask the API server at %s", t.config.Host),
			"see that the cluster runs and that the kubeconfig names it: kubectl version")
	}
	if err := decodeJSON(raw, &found); err != nil {
		return "", domain.WrapError(domain.ErrUnsupported, err, "%s is no Kubernetes API server", t.config.Host)
	}
	return found.GitVersion, nil
}

// ToRESTConfig is, with the three that follow, what Helm asks for.
func (t *Topology) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(t.config), nil }

// ToDiscoveryClient returns the cached discovery.
func (t *Topology) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return t.discovery, nil
}

// ToRESTMapper returns the mapper of kinds.
func (t *Topology) ToRESTMapper() (meta.RESTMapper, error) { return t.mapper, nil }

// ToRawKubeConfigLoader returns the loaded kubeconfig.
func (t *Topology) ToRawKubeConfigLoader() clientcmd.ClientConfig { return t.loader }
