package kube

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
)

// document is what is applied of a resource: what it leaves out belongs to
// others.
type document struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Metadata   documentMetadata `json:"metadata"`
	Spec       any              `json:"spec,omitempty"`
	Status     any              `json:"status,omitempty"`
}

type documentMetadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	UID         types.UID         `json:"uid,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// apply writes by server-side apply and leaves what the server made of it in
// resource.
func apply(ctx context.Context, c client.Client, resource client.Object, kind string, doc document) error {
	patch, err := encode(resource, kind, doc)
	if err != nil {
		return err
	}
	err = c.Patch(ctx, resource, patch, client.FieldOwner(FieldManager), client.ForceOwnership)
	return advise(err, resource.GetNamespace(), "show "+kind+" "+resource.GetName())
}

// applyStatus is apply for the status of an existing resource. It never makes a
// resource, nor writes to another one of the same name.
func applyStatus(ctx context.Context, c client.Client, resource client.Object, kind string, status any) error {
	patch, err := encode(resource, kind, document{Metadata: documentMetadata{UID: resource.GetUID()}, Status: status})
	if err != nil {
		return err
	}
	err = c.Status().Patch(ctx, resource, patch, client.FieldOwner(FieldManager), client.ForceOwnership)
	return translate(err, "show the status of %s %s", kind, resource.GetName())
}

func encode(resource client.Object, kind string, doc document) (client.Patch, error) {
	doc.APIVersion, doc.Kind = v1alpha1.GroupVersion().String(), kind
	doc.Metadata.Name, doc.Metadata.Namespace = resource.GetName(), resource.GetNamespace()
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("show %s %s: %w", kind, resource.GetName(), err)
	}
	return client.RawPatch(types.ApplyPatchType, data), nil
}

// remove deletes exactly this resource.
func remove(ctx context.Context, c client.Client, resource client.Object, kind string) error {
	uid := resource.GetUID()
	err := c.Delete(ctx, resource, client.Preconditions{UID: &uid})
	return translate(client.IgnoreNotFound(err), "remove %s %s", kind, resource.GetName())
}
