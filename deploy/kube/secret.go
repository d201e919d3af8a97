package kube

import (
	"context"
	"encoding/base64"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Secret is a Secret written from memory, at once and as a whole. Its values are
// in no plan, event or error.
type Secret struct {
	Objects   Objects
	Namespace string
	Name      string
	// Type is Opaque by default.
	Type corev1.SecretType
	Data map[string][]byte
	// Generate makes the data instead, once: what is there already is neither
	// compared nor changed.
	Generate func() (map[string][]byte, error)
	// Keep, when set, says why the secret stays when the Score is destroyed.
	Keep string
}

var _ deploy.Resource = (*Secret)(nil)

// ID implements deploy.Resource.
func (s *Secret) ID() string { return title(s.object(nil).Object) }

func (s *Secret) object(data map[string][]byte) *Object {
	kind := s.Type
	if kind == "" {
		kind = corev1.SecretTypeOpaque
	}
	encoded := map[string]any{}
	for key, value := range data {
		encoded[key] = base64.StdEncoding.EncodeToString(value)
	}
	return &Object{Objects: s.Objects, Keep: s.Keep, Object: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": string(kind), "data": encoded,
		"metadata": map[string]any{"namespace": s.Namespace, "name": s.Name},
	}}}
}

// Plan implements deploy.Resource.
func (s *Secret) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	object := s.object(s.Data)
	if s.Generate == nil || goal == deploy.Absent {
		change, err := object.Plan(ctx, goal)
		return change, s.hidden(err)
	}
	_, err := s.Objects.Get(ctx, object.Object)
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return deploy.Change{Action: deploy.ActionCreate, Summary: "generate it"}, nil
	case err != nil:
		return deploy.Change{}, s.hidden(err)
	}
	return deploy.Unchanged("there, and never changed"), nil
}

// Apply implements deploy.Resource.
func (s *Secret) Apply(ctx context.Context, goal deploy.Goal, progress deploy.Progress) error {
	data := s.Data
	if s.Generate != nil && goal == deploy.Present {
		var err error
		if data, err = s.Generate(); err != nil {
			return err
		}
	}
	return s.hidden(s.object(data).Apply(ctx, goal, progress))
}

// hidden keeps the text of a refusal, which may quote a value, out of the error.
func (s *Secret) hidden(err error) error {
	if errors.Is(err, domain.ErrInvalid) {
		return domain.Errorf(domain.ErrInvalid, "the cluster refuses Secret %s/%s as invalid", s.Namespace, s.Name)
	}
	if errors.Is(err, domain.ErrPermissionDenied) {
		return deploy.WithNext(err, "have an administrator allow get, create, patch and delete of secrets in namespace %s", s.Namespace)
	}
	return err
}

// ReadSecret returns the data of a Secret: domain.ErrNotFound when there is none.
func ReadSecret(ctx context.Context, objects Objects, namespace, name string) (map[string][]byte, error) {
	live, err := objects.Get(ctx, (&Secret{Namespace: namespace, Name: name}).object(nil).Object)
	if err != nil {
		return nil, err
	}
	encoded, _, err := unstructured.NestedStringMap(live.Object, "data")
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "Secret %s/%s", namespace, name)
	}
	data := make(map[string][]byte, len(encoded))
	for key, text := range encoded {
		if data[key], err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, domain.Errorf(domain.ErrInvalid, "Secret %s/%s: %s is not in base64", namespace, name, key)
		}
	}
	return data, nil
}
