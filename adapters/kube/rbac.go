package kube

import (
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
)

// Rules are the rights that a Bridge needs, all of them in the namespace of its
// fleet. They stand here, beside the code that uses them, and charts are
// written from them.
func Rules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{
			APIGroups: []string{v1alpha1.Group},
			Resources: []string{"devices", "deployments"},
			Verbs:     []string{"get", "list", "watch", "create", "patch", "update", "delete"},
		},
		{
			APIGroups: []string{v1alpha1.Group},
			Resources: []string{"devices/status", "deployments/status"},
			Verbs:     []string{"patch", "update"},
		},
		{
			// Of resources, and who took the Lease.
			APIGroups: []string{"", "events.k8s.io"},
			Resources: []string{"events"},
			Verbs:     []string{"create", "patch", "update", "list"},
		},
		{
			APIGroups:     []string{"coordination.k8s.io"},
			Resources:     []string{"leases"},
			ResourceNames: []string{LeaseName},
			Verbs:         []string{"get", "update"},
		},
		{
			// A name cannot be asked for before there is one.
			APIGroups: []string{"coordination.k8s.io"},
			Resources: []string{"leases"},
			Verbs:     []string{"create"},
		},
	}
}
