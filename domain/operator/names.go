package operator

import (
	"unique"

	"github.com/nationtech/harmony-fleet/contracts"
)

// nameHandle is a deployment's name in the space of a pointer. The name is
// kept once, however many devices have the deployment.
type nameHandle = unique.Handle[contracts.DeploymentName]
