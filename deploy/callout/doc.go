// Package callout brings up the auth callout in a cluster.
package callout
