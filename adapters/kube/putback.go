package kube

import (
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
)

// eventEditPutBack tells whoever edited a reflected Deployment why nothing came
// of it. The fleet itself knows no such event.
const eventEditPutBack contracts.EventKind = "EditPutBack"

// editor returns who changed the spec of a reflected resource since it was
// written last; empty for nobody.
func editor(resource *v1alpha1.Deployment) string {
	var own metav1.Time
	for _, entry := range resource.ManagedFields {
		if entry.Manager == FieldManager && entry.Subresource == "" && entry.Time != nil && own.Before(entry.Time) {
			own = *entry.Time
		}
	}
	i := slices.IndexFunc(resource.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager != FieldManager && entry.Subresource == "" && entry.Time != nil && !entry.Time.Before(&own) && ownsSpec(entry.FieldsV1)
	})
	if i < 0 {
		return ""
	}
	return resource.ManagedFields[i].Manager
}

// ownsSpec reports whether fields are owned in the spec.
func ownsSpec(fields *metav1.FieldsV1) bool {
	var owned map[string]json.RawMessage
	if fields == nil || json.Unmarshal(fields.GetRawBytes(), &owned) != nil {
		return false
	}
	_, ok := owned["f:spec"]
	return ok
}

func putBackText(editor string) string {
	return fmt.Sprintf("an edit by %q was put back: this deployment was made with the fleet command; change it there, or delete it there first", editor)
}
