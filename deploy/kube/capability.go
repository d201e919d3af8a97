package kube

import (
	"context"
	"io"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Cluster is the capability to say what cluster it is.
type Cluster interface {
	// Version returns the API server's, such as "v1.37.2".
	Version(ctx context.Context) (string, error)
}

// Objects is the capability to have objects in a cluster.
type Objects interface {
	// Get returns the live object of the kind, namespace and name that object
	// has: domain.ErrNotFound when there is none.
	Get(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error)
	// Apply makes the fields of object so, all or none, as FieldManager, and
	// returns the whole object. A dry run changes nothing.
	Apply(ctx context.Context, object *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error)
	// Delete removes the object and waits until it is gone. One that is not
	// there is no error.
	Delete(ctx context.Context, object *unstructured.Unstructured) error
}

// Releases is the capability to have releases of Helm charts.
type Releases interface {
	Objects
	// Last returns the newest revision, whatever became of it:
	// domain.ErrNotFound when there is none.
	Last(ctx context.Context, namespace, name string) (*release.Release, error)
	// Deploy installs or upgrades a release and waits until all of it is ready.
	// An upgrade that fails is rolled back to the revision that was deployed
	// before; a failed installation stays for a look. The next call goes on in
	// either case, also when this one was killed.
	Deploy(ctx context.Context, deployment Deployment) error
	// Rollback deploys an earlier revision again.
	Rollback(ctx context.Context, namespace, name string, revision int) error
	// Uninstall removes the release and its history.
	Uninstall(ctx context.Context, namespace, name string) error
}

// Forwards is the capability to reach what listens in a cluster.
type Forwards interface {
	// Forward listens on loopback and forwards connections to a port of the pod
	// until the closer is closed. The address is host and port.
	Forward(ctx context.Context, namespace, pod string, port int) (address string, closer io.Closer, err error)
	// Pods returns the names of the ready pods behind a service:
	// domain.ErrNotFound when there is no such service.
	Pods(ctx context.Context, namespace, service string) ([]string, error)
}
