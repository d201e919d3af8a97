package kube

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony-fleet/domain"
)

func (t *Topology) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := t.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, translate(err, "find the kind %s", kind)
	}
	resource := t.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == "namespace" {
		return resource.Namespace(object.GetNamespace()), nil
	}
	return resource, nil
}

// Get implements Objects.
func (t *Topology) Get(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, err := t.resource(object)
	if err != nil {
		return nil, err
	}
	live, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	return live, translate(err, "read %s", title(object))
}

// Apply implements Objects.
func (t *Topology) Apply(ctx context.Context, object *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	resource, err := t.resource(object)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	force := true
	options := metav1.PatchOptions{FieldManager: FieldManager, Force: &force}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	applied, err := resource.Patch(ctx, object.GetName(), types.ApplyPatchType, data, options)
	return applied, translate(err, "apply %s", title(object))
}

// Delete implements Objects.
func (t *Topology) Delete(ctx context.Context, object *unstructured.Unstructured) error {
	resource, err := t.resource(object)
	if err != nil {
		return err
	}
	foreground := metav1.DeletePropagationForeground
	err = translate(resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: &foreground}), "remove %s", title(object))
	for {
		if errors.Is(err, domain.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(250 * time.Millisecond):
		}
		_, err = t.Get(ctx, object)
	}
}

// title names an object for people.
func title(object *unstructured.Unstructured) string {
	if object.GetNamespace() == "" {
		return object.GetKind() + " " + object.GetName()
	}
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}

func decodeJSON(data []byte, into any) error { return json.Unmarshal(data, into) }
