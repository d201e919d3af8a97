// Package agent brings up fleet-agent on hosts: from nothing to a device that
// its fleet hears from.
package agent
