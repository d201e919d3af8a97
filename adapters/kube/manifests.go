package kube

import (
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// WriteManifests writes the definitions of the resources, the service
// account of an operator and its rights, as YAML documents.
func WriteManifests(to io.Writer, namespace, account string) error {
	documents, err := CRDFiles()
	if err != nil {
		return err
	}
	meta := metav1.ObjectMeta{Name: LeaseName, Namespace: namespace}
	for _, object := range []any{
		corev1.ServiceAccount{
			TypeMeta:   metav1.TypeMeta{APIVersion: corev1.SchemeGroupVersion.String(), Kind: rbacv1.ServiceAccountKind},
			ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: namespace},
		},
		rbacv1.Role{
			TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"}, ObjectMeta: meta, Rules: Rules(),
		},
		rbacv1.RoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"}, ObjectMeta: meta,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: LeaseName},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: namespace}},
		},
	} {
		document, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("manifests: %w", err)
		}
		documents = append(documents, append([]byte("---\n"), document...))
	}
	for _, document := range documents {
		if _, err := to.Write(document); err != nil {
			return fmt.Errorf("manifests: %w", err)
		}
	}
	return nil
}
