package operator

import (
	"slices"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
)

// join makes a device take part in a deployment. What it is given is up to the
// planner; until then it has what its stored document says.
func (e *engine) join(d *device, deployment *deployment) {
	at, _ := slices.BinarySearchFunc(d.memberships, deployment.name, func(m membership, name contracts.DeploymentName) int {
		return strings.Compare(string(m.deployment.name), string(name))
	})
	d.memberships = slices.Insert(d.memberships, at, membership{
		deployment: deployment,
		index:      int32(len(deployment.members)), //nolint:gosec // fleets have fewer than 2^31 devices
		assigned:   d.stored.generationOf(deployment.handle),
		since:      e.now.UnixNano(),
	})
	deployment.members = append(deployment.members, d)
	e.markMembers(deployment)
}

// leave is the opposite of join. The order of the members does not matter, so
// the last one takes the free place.
func (e *engine) leave(d *device, deployment *deployment) {
	at := slices.IndexFunc(d.memberships, func(m membership) bool { return m.deployment == deployment })
	index := d.memberships[at].index
	d.memberships = slices.Delete(d.memberships, at, at+1)
	last := len(deployment.members) - 1
	moved := deployment.members[last]
	deployment.members[index] = moved
	deployment.members[last] = nil
	deployment.members = deployment.members[:last]
	if moved != d {
		moved.membership(deployment).index = index
	}
	e.markMembers(deployment)
	e.markDirty(d)
}

func (e *engine) leaveAll(d *device) {
	for len(d.memberships) > 0 {
		e.leave(d, d.memberships[len(d.memberships)-1].deployment)
	}
}

// rematch makes exactly the devices that the selector chooses take part.
func (e *engine) rematch(deployment *deployment) {
	matches := matcher(deployment.selector)
	for _, d := range e.devices {
		if !d.eligible() {
			continue
		}
		in := d.membership(deployment) != nil
		switch chosen := matches(d); {
		case chosen && !in:
			e.join(d, deployment)
		case !chosen && in:
			e.leave(d, deployment)
		}
	}
}

// matcher returns a function that says whether a selector chooses a device. In
// a large fleet few label sets differ, apart from the device's own ID, so each
// is looked at once, unless the selector asks for the ID.
func matcher(selector contracts.LabelSelector) func(*device) bool {
	if want, ok := selector.MatchLabels[contracts.DeviceLabel]; ok {
		return func(d *device) bool { return string(d.id) == want && selector.Matches(d.effectiveLabels()) }
	}
	if slices.ContainsFunc(selector.MatchExpressions, func(r contracts.SelectorRequirement) bool { return r.Key == contracts.DeviceLabel }) {
		return func(d *device) bool { return selector.Matches(d.effectiveLabels()) }
	}
	type labelling struct{ peoples, reported labelSet }
	known := map[labelling]bool{}
	return func(d *device) bool {
		labels := labelling{d.labels, d.reportedLabels}
		matches, ok := known[labels]
		if !ok {
			matches = selector.Matches(d.effectiveLabels())
			known[labels] = matches
		}
		return matches
	}
}
