// Package charts holds the Helm charts of the fleet's own programs. They are
// plain charts as well: helm install fleet-operator deploy/charts/fleet-operator.
package charts

import (
	"embed"
	"io/fs"
)

//go:embed all:fleet-operator all:fleet-callout
var files embed.FS

// Operator returns the chart of fleet-operator; its root has Chart.yaml.
func Operator() (fs.FS, error) { return fs.Sub(files, "fleet-operator") }

// Callout returns the chart of the auth callout; its root has Chart.yaml.
func Callout() (fs.FS, error) { return fs.Sub(files, "fleet-callout") }
