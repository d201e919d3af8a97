package podman

import (
	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/contracts"
)

// Labels of a container of ours. They are part of what is on devices: renaming
// one would orphan running containers.
const (
	labelPrefix     = "io.nationtech.fleet."
	labelOwner      = labelPrefix + "owner"
	labelDeployment = labelPrefix + "deployment"
	labelService    = labelPrefix + "service"
	// labelKind is kindService or kindInit.
	labelKind = labelPrefix + "kind"
	// labelHash is that of the spec the container was made from.
	labelHash = labelPrefix + "hash"
	// labelGeneration is the deployment's when the container was made.
	labelGeneration = labelPrefix + "generation"
	// labelImage is the reference as declared, labelDigest the image's digest.
	labelImage  = labelPrefix + "image"
	labelDigest = labelPrefix + "digest"
)

const (
	kindService = "service"
	kindInit    = "init"
)

// nextSuffix is added to the name of a container that is made while the one it
// replaces still runs.
const nextSuffix = ".next"

// containerName is unique: neither part can hold a dot.
func (r *Runtime) containerName(deployment contracts.DeploymentName, service string) string {
	return r.options.Owner + "." + string(deployment) + "." + service
}

// ours are the label filters of everything that belongs to this runtime.
func (r *Runtime) ours() []string { return []string{labelOwner + "=" + r.options.Owner} }

func (r *Runtime) oursOf(deployment contracts.DeploymentName) []string {
	return append(r.ours(), labelDeployment+"="+string(deployment))
}

// container is one of ours on the host.
type container struct{ engine.Container }

func (c container) deployment() contracts.DeploymentName {
	return contracts.DeploymentName(c.Config.Labels[labelDeployment])
}
func (c container) service() string { return c.Config.Labels[labelService] }
func (c container) kind() string    { return c.Config.Labels[labelKind] }
func (c container) hash() string    { return c.Config.Labels[labelHash] }
