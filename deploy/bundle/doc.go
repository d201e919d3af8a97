// Package bundle writes the charts and container images of releases into one
// archive, and deploys from it where neither repositories nor registries can be
// reached.
package bundle
