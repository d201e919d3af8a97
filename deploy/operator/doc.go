// Package operator brings up fleet-operator in a cluster.
package operator
