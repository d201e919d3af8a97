// Package zitadelsetup sets a fleet up at a running Zitadel: its project, its
// operator, and the operator's key as a Secret in the cluster.
package zitadelsetup
