// Package zitadel brings up the identity provider of a fleet in a cluster, from
// the upstream chart of Zitadel.
package zitadel
