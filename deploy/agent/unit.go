package agent

import _ "embed"

// unit is the packages' own, kept the same by a test.
//
//go:embed fleet-agent.service
var unit string
