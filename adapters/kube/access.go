package kube

import (
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nationtech/harmony-fleet/domain"
)

// InCluster says to use the service account of the pod.
const InCluster = "in-cluster"

// namespaceFile is where a pod finds its own namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Access returns how to reach an API server: InCluster, or a kubeconfig file
// with the namespace of its context. A namespace that is given wins. Nothing is
// asked of the API server yet.
func Access(from, namespace string) (*rest.Config, string, error) {
	if from == InCluster {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, "", domain.WrapError(domain.ErrInvalid, err,
				"this is no pod with a service account; outside of a cluster name a kubeconfig file")
		}
		if namespace == "" {
			own, err := os.ReadFile(namespaceFile)
			if err != nil {
				return nil, "", domain.WrapError(domain.ErrInvalid, err, "the pod's own namespace; name one")
			}
			namespace = strings.TrimSpace(string(own))
		}
		return config, namespace, nil
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: from}, &clientcmd.ConfigOverrides{})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", domain.WrapError(domain.ErrInvalid, err, "kubeconfig %s", from)
	}
	if namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, "", domain.WrapError(domain.ErrInvalid, err, "kubeconfig %s", from)
		}
	}
	return config, namespace, nil
}
