package kube

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Kinds of the resources.
const (
	kindDevice     = "Device"
	kindDeployment = contracts.KindDeployment
)

// KubeFleetReflector shows the fleet as resources: it makes, corrects and
// removes them, and writes only what differs.
type KubeFleetReflector struct {
	fleet *fleet
	// devices and deployments have allowances of their own.
	devices, deployments client.Client
	namespace            string
	log                  *slog.Logger
	now                  func() time.Time
	// tell has an Event recorded.
	tell func(contracts.Event) bool
}

// device brings the resource of one device in line.
func (r *KubeFleetReflector) device(ctx context.Context, name string) (wrote bool, err error) {
	if !r.fleet.ready() {
		return false, nil
	}
	known, show := r.fleet.showDevice(contracts.DeviceID(name))
	resource := &v1alpha1.Device{}
	exists, err := get(ctx, r.devices, client.ObjectKey{Namespace: r.namespace, Name: name}, resource, kindDevice)
	switch {
	case err != nil, !show && !exists:
		return false, err
	case !show:
		return true, remove(ctx, r.devices, resource, kindDevice)
	case !resource.DeletionTimestamp.IsZero():
		return false, nil // it is made again when it is gone
	}
	resource.Name, resource.Namespace = name, r.namespace
	spec, labels := deviceSpec(&known), known.labels()
	same := func() bool {
		return exists && maps.Equal(resource.Labels, labels) && equality.Semantic.DeepEqual(resource.Spec, spec)
	}
	if !same() {
		wrote = true
		doc := document{Metadata: documentMetadata{Labels: labels}, Spec: spec}
		if err := apply(ctx, r.devices, resource, kindDevice, doc); err != nil {
			return wrote, err
		}
		if exists = true; !same() { // somebody added to it
			resource.Labels, resource.Spec = labels, spec
			if err := update(ctx, r.devices, resource, kindDevice); err != nil {
				return wrote, err
			}
		}
	}
	status := deviceStatus(&known, &resource.Status, resource.Generation, r.now())
	wroteStatus, err := r.status(ctx, r.devices, resource, kindDevice, status,
		func() bool { return equality.Semantic.DeepEqual(resource.Status, status) },
		func() { resource.Status = status })
	return wrote || wroteStatus, err
}

// status writes a status that is not the same as the shown one.
func (r *KubeFleetReflector) status(
	ctx context.Context, c client.Client, resource client.Object, kind string, status any, same func() bool, replace func(),
) (wrote bool, err error) {
	if same() {
		return false, nil
	}
	if err := applyStatus(ctx, c, resource, kind, status); err != nil {
		return true, err
	}
	if same() {
		return true, nil
	}
	replace() // somebody added to it
	err = c.Status().Update(ctx, resource, client.FieldOwner(FieldManager))
	return true, translate(err, "correct the status of %s %s", kind, resource.GetName())
}

// declaration brings the resource of a deployment that was made with the fleet
// command in line. stored is nil while the deployment is being removed.
func (r *KubeFleetReflector) declaration(ctx context.Context, resource *v1alpha1.Deployment, exists bool, stored *domain.FleetDeployment) (wrote bool, err error) {
	if stored == nil {
		return false, nil
	}
	spec, err := specFromDomain(stored.Spec)
	if errors.Is(err, domain.ErrUnsupported) {
		r.log.Warn("a deployment cannot be shown as a resource by this version",
			slog.String("deployment", string(stored.Name)), slog.Any("error", err))
		return false, nil
	}
	if err != nil {
		return false, err
	}
	annotations := map[string]string{v1alpha1.OriginAnnotation: string(stored.Manager())}
	if stored.ChangeCause != "" {
		annotations[domain.ChangeCauseAnnotation] = stored.ChangeCause
	}
	same := func() bool {
		for key, value := range annotations {
			if resource.Annotations[key] != value {
				return false
			}
		}
		return exists && maps.Equal(resource.Labels, stored.Labels) && equality.Semantic.DeepEqual(resource.Spec, spec)
	}
	if same() {
		return false, nil
	}
	if by := editor(resource); by != "" && !equality.Semantic.DeepEqual(resource.Spec, spec) {
		r.log.Info("an edit of a resource is put back: the deployment was made with the fleet command",
			slog.String("deployment", resource.Name), slog.String("editor", by))
		r.tell(contracts.Event{Kind: eventEditPutBack, Deployment: stored.Name, Message: putBackText(by), Time: r.now()})
	}
	doc := document{Metadata: documentMetadata{Labels: stored.Labels, Annotations: annotations}, Spec: spec}
	if err := apply(ctx, r.deployments, resource, kindDeployment, doc); err != nil {
		return true, err
	}
	if exists = true; same() {
		return true, nil
	}
	resource.Labels, resource.Spec = stored.Labels, spec // somebody added to it
	return true, update(ctx, r.deployments, resource, kindDeployment)
}

// restore makes the resource of a deployment again that was made here and whose
// resource is gone although nobody withdrew it.
func (r *KubeFleetReflector) restore(ctx context.Context, stored *domain.FleetDeployment) (wrote bool, err error) {
	spec, err := specFromDomain(stored.Spec)
	if err != nil {
		r.log.Warn("the resource of a deployment is gone and cannot be made again by this version",
			slog.String("deployment", string(stored.Name)), slog.Any("error", err))
		return false, nil
	}
	resource := &v1alpha1.Deployment{Spec: spec}
	resource.Name, resource.Namespace = string(stored.Name), r.namespace
	resource.Labels = stored.Labels
	resource.Finalizers = []string{v1alpha1.Finalizer}
	if stored.ChangeCause != "" {
		resource.Annotations = map[string]string{domain.ChangeCauseAnnotation: stored.ChangeCause}
	}
	r.log.Info("making the resource of a deployment again: it is gone, and nobody withdrew the deployment",
		slog.String("deployment", string(stored.Name)))
	err = r.deployments.Create(ctx, resource, client.FieldOwner(FieldManager))
	return true, translate(err, "make Deployment %s again", stored.Name)
}

// get reads one resource and reports whether it exists.
func get(ctx context.Context, c client.Client, key client.ObjectKey, resource client.Object, kind string) (bool, error) {
	err := c.Get(ctx, key, resource)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, translate(err, "read %s %s", kind, key.Name)
}

func update(ctx context.Context, c client.Client, resource client.Object, kind string) error {
	return translate(c.Update(ctx, resource, client.FieldOwner(FieldManager)), "correct %s %s", kind, resource.GetName())
}
