package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	adapter "github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

const leaderTimeout = 2 * time.Minute

var errNobodyLeads = domain.Errorf(domain.ErrUnavailable, "no operator leads yet")

// awaitLeader waits until the Lease is renewed while it watches: one that was
// left behind proves nothing, whatever the clocks are.
func awaitLeader(ctx context.Context, objects kube.Objects, namespace string, progress deploy.Progress) error {
	var before time.Time
	err := deploy.Until(ctx, leaderTimeout, progress, func(ctx context.Context) error {
		lease, err := readLease(ctx, objects, namespace)
		switch {
		case errors.Is(err, domain.ErrNotFound):
			return errNobodyLeads
		case err != nil:
			return err
		case lease.Spec.RenewTime == nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "":
			return errNobodyLeads
		}
		renewed := lease.Spec.RenewTime.Time
		if !before.IsZero() && renewed.After(before) {
			progress(*lease.Spec.HolderIdentity + " leads")
			return nil
		}
		if before.IsZero() {
			before = renewed
		}
		return domain.Errorf(domain.ErrUnavailable, "a sign of life of %s", *lease.Spec.HolderIdentity)
	})
	return deploy.WithNext(err, "see why: kubectl -n %s logs -l app.kubernetes.io/name=fleet-operator", namespace)
}

func readLease(ctx context.Context, objects kube.Objects, namespace string) (*coordinationv1.Lease, error) {
	var name unstructured.Unstructured
	name.SetAPIVersion(coordinationv1.SchemeGroupVersion.String())
	name.SetKind("Lease")
	name.SetNamespace(namespace)
	name.SetName(adapter.LeaseName)
	object, err := objects.Get(ctx, &name)
	if err != nil {
		return nil, err
	}
	var lease coordinationv1.Lease
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &lease); err != nil {
		return nil, fmt.Errorf("read the Lease: %w", err)
	}
	return &lease, nil
}
