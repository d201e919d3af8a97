package kube

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Intake declares the deployments to the fleet that people and GitOps make as
// resources, withdraws them when they are deleted, and has the reflector show
// all others.
type Intake struct {
	fleet     *fleet
	reflector *KubeFleetReflector
	client    client.Client
	store     domain.DeploymentStore
	statuses  domain.DeploymentStatusStore
	// creatable reports whether the API server lets anybody make a Deployment.
	creatable func(ctx context.Context) (bool, error)
	namespace string
	log       *slog.Logger
	now       func() time.Time
}

// deployment brings one name in line, whichever way it flows.
func (i *Intake) deployment(ctx context.Context, name string) (wrote bool, err error) {
	if !i.fleet.ready() {
		return false, nil
	}
	stored, status := i.fleet.showDeployment(contracts.DeploymentName(name))
	resource := &v1alpha1.Deployment{}
	exists, err := get(ctx, i.client, client.ObjectKey{Namespace: i.namespace, Name: name}, resource, kindDeployment)
	switch {
	case err != nil:
		return false, err
	case !exists && stored == nil:
		return false, nil
	case !exists && stored.Manager() == contracts.OriginKubernetes:
		return i.reflector.restore(ctx, stored)
	case exists && !reflected(resource):
		return i.takeIn(ctx, resource, stored, status)
	case exists && stored == nil && status == nil:
		return true, remove(ctx, i.client, resource, kindDeployment)
	case !resource.DeletionTimestamp.IsZero():
		return false, nil // it is made again when it is gone
	}
	resource.Name, resource.Namespace = name, i.namespace
	wrote, err = i.reflector.declaration(ctx, resource, exists, stored)
	if err != nil || resource.UID == "" {
		return wrote, err
	}
	wroteStatus, err := i.writeStatus(ctx, resource, outcome{
		stored: stored, status: status, current: true, removing: stored == nil,
	})
	return wrote || wroteStatus, err
}

// reflected reports whether the reflector made the resource. What people may
// copy from one resource to another (labels, annotations) does not count.
func reflected(resource *v1alpha1.Deployment) bool {
	return slices.ContainsFunc(resource.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == ""
	})
}

// takeIn declares to the fleet what a resource says.
func (i *Intake) takeIn(
	ctx context.Context, resource *v1alpha1.Deployment, stored *domain.FleetDeployment, status *contracts.DeploymentStatus,
) (wrote bool, err error) {
	if !resource.DeletionTimestamp.IsZero() {
		return i.withdraw(ctx, resource, stored, status)
	}
	want, err := deploymentFromResource(resource)
	if err == nil {
		err = domain.CheckDeployment(want)
	}
	result := outcome{stored: stored, status: status}
	switch {
	case errors.Is(err, domain.ErrInvalid):
		result.refused, result.reason = err.Error(), reasonInvalid
	case err != nil:
		return false, err
	case stored != nil && stored.Manager() == contracts.OriginKubernetes && domain.SameDeclaration(*stored, want):
		result.current = true
	default:
		if wrote, err = i.declare(ctx, resource, want, &result); err != nil {
			return wrote, err
		}
	}
	if result.current && !slices.Contains(resource.Finalizers, v1alpha1.Finalizer) {
		// Somebody took it off a resource that stands for a deployment.
		if err := i.setFinalizer(ctx, resource, true); err != nil {
			return true, err
		}
	}
	wroteStatus, err := i.writeStatus(ctx, resource, result)
	return wrote || wroteStatus, err
}

// declare brings a spec that makes sense to the store. The finalizer comes
// first: a resource that is deleted in between must not leave a deployment.
func (i *Intake) declare(ctx context.Context, resource *v1alpha1.Deployment, want domain.FleetDeployment, result *outcome) (wrote bool, err error) {
	if !slices.Contains(resource.Finalizers, v1alpha1.Finalizer) {
		wrote = true
		if err := i.setFinalizer(ctx, resource, true); err != nil {
			return wrote, err
		}
	}
	applied, done, err := domain.ApplyDeployment(ctx, i.store, want)
	switch {
	case err == nil:
		result.stored, result.current = &applied, true
		i.log.Info("a deployment was taken in from Kubernetes",
			slog.String("deployment", resource.Name), slog.String("outcome", string(done)),
			slog.Uint64("generation", applied.Generation))
		return wrote, nil
	case errors.Is(err, domain.ErrConflict):
		result.refused, result.reason = err.Error(), reasonElsewhere
	case errors.Is(err, domain.ErrInvalid):
		result.refused, result.reason = err.Error(), reasonInvalid
	default:
		return wrote, err
	}
	return wrote, nil
}

// withdraw removes the deployment of a deleted resource from the fleet, and
// lets the resource go when no device that is online has it any more.
func (i *Intake) withdraw(
	ctx context.Context, resource *v1alpha1.Deployment, stored *domain.FleetDeployment, status *contracts.DeploymentStatus,
) (wrote bool, err error) {
	if !slices.Contains(resource.Finalizers, v1alpha1.Finalizer) {
		return false, nil
	}
	if stored != nil && stored.Manager() == contracts.OriginKubernetes {
		going, err := i.definitionGoes(ctx)
		if err != nil {
			return false, err
		}
		if going {
			i.log.Warn("the definition of Deployment is being deleted, which is no withdrawal: the deployment stays in the fleet",
				slog.String("deployment", resource.Name))
			return true, i.setFinalizer(ctx, resource, false)
		}
	}
	gone, err := i.delete(ctx, contracts.DeploymentName(resource.Name))
	if err != nil {
		return false, err
	}
	if gone {
		return true, i.setFinalizer(ctx, resource, false)
	}
	return i.writeStatus(ctx, resource, outcome{stored: stored, status: status, removing: true})
}

// delete removes a deployment that was made here, and reports whether nothing
// of it is left. It asks the stores: what was seen may be old.
func (i *Intake) delete(ctx context.Context, name contracts.DeploymentName) (gone bool, err error) {
	stored, err := i.store.Get(ctx, name)
	switch {
	case err == nil && stored.Manager() != contracts.OriginKubernetes:
		return true, nil // another one of that name
	case err == nil:
		err = i.store.Delete(ctx, name, stored.Revision)
		if err == nil {
			i.log.Info("a deployment was withdrawn from Kubernetes", slog.String("deployment", string(name)))
		}
		return false, err
	case !errors.Is(err, domain.ErrNotFound):
		return false, err
	}
	_, err = i.statuses.Get(ctx, name)
	if errors.Is(err, domain.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// definitionGoes reports whether the resources' own definition is being
// deleted, which deletes all of them. The API server refuses to make a resource
// then, and can be asked without rights beyond the namespace.
func (i *Intake) definitionGoes(ctx context.Context) (bool, error) {
	probe := &v1alpha1.Deployment{}
	probe.GenerateName, probe.Namespace = "probe-", i.namespace
	probe.Spec.Score = v1alpha1.Score{
		Type: string(contracts.ScorePodmanV0),
		Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{Name: "probe", Image: "probe"}}},
	}
	err := i.client.Create(ctx, probe, client.DryRunAll, client.FieldOwner(FieldManager),
		client.DisableReadYourWritesConsistency) // nothing will ever be seen of it
	if err == nil || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false, nil
	}
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		// Others forbid things as well: only what is going cannot be made by anyone.
		creatable, discovered := i.creatable(ctx)
		if discovered == nil && !creatable {
			return true, nil
		}
	}
	return false, translate(err, "find out whether the definition of Deployment is being deleted")
}

// setFinalizer puts ours on or takes it off, unless the resource changed.
func (i *Intake) setFinalizer(ctx context.Context, resource *v1alpha1.Deployment, on bool) error {
	before := resource.DeepCopy()
	resource.Finalizers = slices.DeleteFunc(resource.Finalizers, func(f string) bool { return f == v1alpha1.Finalizer })
	if on {
		resource.Finalizers = append(resource.Finalizers, v1alpha1.Finalizer)
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := i.client.Patch(ctx, resource, patch, client.FieldOwner(FieldManager))
	return translate(client.IgnoreNotFound(err), "mark Deployment %s", resource.Name)
}

func (i *Intake) writeStatus(ctx context.Context, resource *v1alpha1.Deployment, o outcome) (wrote bool, err error) {
	status := deploymentStatus(resource, o, i.now())
	return i.reflector.status(ctx, i.client, resource, kindDeployment, status,
		func() bool { return equality.Semantic.DeepEqual(resource.Status, status) },
		func() { resource.Status = status })
}
