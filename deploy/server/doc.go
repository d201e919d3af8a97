// Package server brings up the whole server side of a fleet in a cluster.
package server
