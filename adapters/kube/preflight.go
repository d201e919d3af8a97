package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/domain"
)

// preflightTimeout is how long the API server may take to answer.
const preflightTimeout = 30 * time.Second

// preflight finds out whether a bridge can do its work in the namespace. What is
// missing would otherwise look like waiting for another operator.
func preflight(ctx context.Context, reader client.Reader, writer client.Writer, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	lists := map[string]client.ObjectList{"Devices": &v1alpha1.DeviceList{}, "Deployments": &v1alpha1.DeploymentList{}}
	for what, list := range lists {
		if err := reader.List(ctx, list, client.InNamespace(namespace), client.Limit(1)); err != nil {
			return advise(err, namespace, "list "+what)
		}
	}
	lease := &coordinationv1.Lease{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: LeaseName}, lease)
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return advise(err, namespace, "read the Lease "+LeaseName)
	}
	lease = &coordinationv1.Lease{}
	lease.GenerateName, lease.Namespace = "probe-", namespace
	err = writer.Create(ctx, lease, client.DryRunAll, client.FieldOwner(FieldManager), client.DisableReadYourWritesConsistency)
	return advise(err, namespace, "make a Lease")
}

// noSuchPath reports whether the API server serves nothing of the kind: its
// definition is gone.
func noSuchPath(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// advise gives an error of the API server one of domain's kinds, and says what
// to do about what a person has to mend.
func advise(err error, namespace, doing string) error {
	if err == nil {
		return nil
	}
	manifests := fmt.Sprintf("fleet-operator manifests --namespace %s | kubectl apply -f -", namespace)
	switch kind := kindOf(err); {
	case meta.IsNoMatchError(err), noSuchPath(err):
		return domain.WrapError(domain.ErrUnavailable, err, "the definitions of Device and Deployment are not installed: run `%s`", manifests)
	case errors.Is(kind, domain.ErrNotFound):
		return domain.WrapError(kind, err, "namespace %s does not exist: run `kubectl create namespace %s`, then `%s`", namespace, namespace, manifests)
	case errors.Is(kind, domain.ErrPermissionDenied):
		return domain.WrapError(kind, err,
			"not allowed to %s in namespace %s: run `%s` and check that the RoleBinding %s names this operator's account", doing, namespace, manifests, LeaseName)
	case errors.Is(kind, domain.ErrUnauthenticated):
		return domain.WrapError(kind, err, "the API server does not accept this operator's credentials: renew the kubeconfig or the service account's token")
	default:
		return translate(err, "the API server was asked to %s", doing)
	}
}
