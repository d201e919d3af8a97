package operator

import (
	"fmt"
	"log/slog"
	"reflect"
	"time"
	"unique"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// deployment is all that the engine keeps about one deployment, from the time
// it is declared until the last online device no longer has it.
type deployment struct {
	name   contracts.DeploymentName
	handle nameHandle

	// spec is nil once the deployment is deleted.
	spec     *compiled
	revision domain.Revision
	selector contracts.LabelSelector
	rollout  contracts.Rollout
	cause    string

	// members take part in it, in no order.
	members []*device
	// holders still have it although it is deleted.
	holders map[*device]struct{}

	// planAt is when to plan again, zero for not needed; reassign is set when
	// the plan may change what devices are given. plannedAt and cost are when
	// the last plan was made and how long it took.
	planAt, plannedAt time.Time
	reassign          bool
	cost              time.Duration

	// completed is the last generation whose completion was announced.
	completed uint64
	status    statusWriter
}

func newDeployment(name contracts.DeploymentName) *deployment {
	return &deployment{name: name, handle: unique.Make(name)}
}

// removing reports whether the deployment is deleted but not gone.
func (d *deployment) removing() bool { return d.spec == nil }

// declaration takes a change of the deployments in.
func (e *engine) declaration(change domain.DeploymentChange) {
	switch change.Kind {
	case domain.ChangeCaughtUp:
		e.caughtUp.deployments = true
	case domain.ChangePut:
		e.declare(change.Value)
	case domain.ChangeDeleted:
		if deployment, ok := e.deployments[change.Key]; ok && !deployment.removing() {
			e.undeclare(deployment)
		}
	}
}

func (e *engine) declare(value domain.FleetDeployment) {
	deployment, ok := e.deployments[value.Name]
	if !ok {
		deployment = newDeployment(value.Name)
		e.deployments[value.Name] = deployment
	}
	if !deployment.removing() && value.Revision <= deployment.revision {
		return // heard before
	}
	returned := deployment.removing()
	var selector contracts.LabelSelector
	if value.Spec.TargetSelector != nil {
		selector = *value.Spec.TargetSelector
	}
	reselect := returned || !reflect.DeepEqual(selector, deployment.selector)
	renewed := returned || deployment.spec.generation != value.Generation
	if renewed {
		deployment.spec = compile(value.Name, value.Generation, value.Spec.Score)
		if deployment.spec.problem != "" {
			e.log.Warn("the score of a deployment is not valid; devices keep what they have",
				slog.String("deployment", string(value.Name)), slog.String("problem", deployment.spec.problem))
		}
	}
	deployment.revision, deployment.selector, deployment.rollout = value.Revision, selector, value.Spec.Rollout
	deployment.cause = value.ChangeCause
	deployment.holders = nil
	delete(e.leaving, deployment)
	if e.recovering {
		return
	}
	if renewed {
		e.announceApplied(deployment)
	}
	if reselect {
		e.rematch(deployment)
	}
	e.markMembers(deployment)
}

func (e *engine) announceApplied(deployment *deployment) {
	message := fmt.Sprintf("generation %d", deployment.spec.generation)
	if deployment.cause != "" {
		message += ": " + deployment.cause
	}
	e.emit(contracts.Event{Kind: contracts.EventDeploymentApplied, Deployment: deployment.name, Message: message})
}

// undeclare begins the removal of a deployment.
func (e *engine) undeclare(deployment *deployment) {
	generation := deployment.spec.generation
	if e.recovering {
		deployment.spec = nil
		deployment.status.current.ObservedGeneration = generation
		return
	}
	for len(deployment.members) > 0 {
		e.leave(deployment.members[len(deployment.members)-1], deployment)
	}
	deployment.spec = nil
	e.emit(contracts.Event{
		Kind: contracts.EventDeploymentDeleted, Deployment: deployment.name,
		Message: fmt.Sprintf("generation %d", generation),
	})
	e.beginRemoval(deployment, generation)
}
