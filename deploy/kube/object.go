package kube

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Requirement is that the cluster answers. It is first in a Score, so that a
// cluster that is away is named as such.
type Requirement struct{ Cluster Cluster }

var _ deploy.Resource = Requirement{}

// ID implements deploy.Resource.
func (Requirement) ID() string { return "cluster" }

// Plan implements deploy.Resource.
func (r Requirement) Plan(ctx context.Context, _ deploy.Goal) (deploy.Change, error) {
	version, err := r.Cluster.Version(ctx)
	return deploy.Unchanged("Kubernetes " + version), err
}

// Apply implements deploy.Resource.
func (Requirement) Apply(context.Context, deploy.Goal, deploy.Progress) error { return nil }

// Namespace is a namespace. It is never removed, since others may use it too.
type Namespace struct {
	Objects Objects
	Name    string
}

var _ deploy.Resource = (*Namespace)(nil)

func (n *Namespace) object() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": n.Name},
	}}
}

// ID implements deploy.Resource.
func (n *Namespace) ID() string { return "Namespace " + n.Name }

// Plan implements deploy.Resource.
func (n *Namespace) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	if goal == deploy.Absent {
		return deploy.Unchanged("kept: others may use it too"), nil
	}
	live, err := n.Objects.Get(ctx, n.object())
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return deploy.Change{Action: deploy.ActionCreate, Summary: "create it"}, nil
	case err != nil:
		return deploy.Change{}, err
	case live.GetDeletionTimestamp() != nil:
		return deploy.Change{}, domain.Errorf(domain.ErrUnavailable, "the namespace is being removed")
	}
	return deploy.Unchanged("there"), nil
}

// Apply implements deploy.Resource.
func (n *Namespace) Apply(ctx context.Context, _ deploy.Goal, _ deploy.Progress) error {
	_, err := n.Objects.Apply(ctx, n.object(), false)
	return err
}

// Object is a plain object. Its fields are applied by the server; what others
// set beside them stays. An object of that name that was made by others is left
// alone.
type Object struct {
	Objects Objects
	Object  *unstructured.Unstructured
	// Keep, when set, says why the object stays when the Score is destroyed.
	Keep string
}

var _ deploy.Resource = (*Object)(nil)

// ID implements deploy.Resource.
func (o *Object) ID() string { return title(o.Object) }

// labelled is the object with a label that says who made it.
func (o *Object) labelled() *unstructured.Unstructured {
	object := o.Object.DeepCopy()
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels["app.kubernetes.io/managed-by"] = FieldManager
	object.SetLabels(labels)
	return object
}

// Plan implements deploy.Resource.
func (o *Object) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	if goal == deploy.Absent && o.Keep != "" {
		return deploy.Unchanged("kept: " + o.Keep), nil
	}
	live, err := o.Objects.Get(ctx, o.Object)
	missing := errors.Is(err, domain.ErrNotFound)
	switch {
	case err != nil && !missing:
		return deploy.Change{}, err
	case goal == deploy.Absent && missing:
		return deploy.Unchanged("not there"), nil
	case goal == deploy.Absent && !ours(live):
		return deploy.Unchanged("kept: it was not made by " + FieldManager), nil
	case goal == deploy.Absent:
		return deploy.Change{Action: deploy.ActionDelete, Summary: "remove it"}, nil
	case missing:
		return deploy.Change{Action: deploy.ActionCreate, Summary: "create it"}, nil
	case !ours(live):
		return deploy.Change{}, deploy.WithNext(domain.Errorf(domain.ErrConflict, "there is one already that %s did not make", FieldManager),
			"look at it (kubectl get %s -n %s %s), and remove it or choose another name", o.Object.GetKind(), o.Object.GetNamespace(), o.Object.GetName())
	}
	wanted, err := o.Objects.Apply(ctx, o.labelled(), true)
	if err != nil {
		return deploy.Change{}, err
	}
	if paths := differences(live, wanted); len(paths) > 0 {
		return deploy.Change{Action: deploy.ActionUpdate, Summary: fmt.Sprintf("change %s", some(paths)), Details: paths}, nil
	}
	return deploy.Unchanged("up to date"), nil
}

// Apply implements deploy.Resource.
func (o *Object) Apply(ctx context.Context, goal deploy.Goal, _ deploy.Progress) error {
	if goal == deploy.Absent {
		return o.Objects.Delete(ctx, o.Object)
	}
	_, err := o.Objects.Apply(ctx, o.labelled(), false)
	return err
}

// ours says whether this package applied the object before.
func ours(live *unstructured.Unstructured) bool {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == FieldManager && entry.Operation == "Apply" {
			return true
		}
	}
	return false
}
