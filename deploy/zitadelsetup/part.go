package zitadelsetup

import (
	"context"
	"errors"
	"strings"

	adapter "github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/deploy"
)

// onceThere is the plan for what needs a Zitadel that is not there yet.
func onceThere(err error) deploy.Change {
	return deploy.Change{Action: deploy.ActionCreate, Summary: "make it, once Zitadel is there", Details: []string{err.Error()}}
}

// partNames are those of what is made at Zitadel, in order.
func partNames() []string {
	var names []string
	for _, part := range (&adapter.FleetSetup{}).Parts() {
		names = append(names, part.Name)
	}
	return names
}

// part is one thing at Zitadel.
type part struct {
	score    *FleetZitadelSetupScore
	topology Cluster
	name     string
}

var _ deploy.Resource = (*part)(nil)

// ID implements deploy.Resource.
func (p *part) ID() string { return "Zitadel " + p.name }

// look asks Zitadel what is missing.
func (p *part) look(ctx context.Context) (missing []string, err error) {
	err = p.score.administer(ctx, p.topology, func(setup *adapter.FleetSetup) error {
		found, err := setup.Part(p.name)
		if err == nil {
			missing, err = found.Missing(ctx)
		}
		return err
	})
	return missing, err
}

// Plan implements deploy.Resource.
func (p *part) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	if goal == deploy.Absent {
		return p.removal(ctx)
	}
	missing, err := p.look(ctx)
	switch {
	case errors.Is(err, errNoZitadel):
		return onceThere(err), nil
	case err != nil:
		return deploy.Change{}, err
	case len(missing) > 0:
		return deploy.Change{Action: deploy.ActionCreate, Summary: "make " + strings.Join(missing, ", ")}, nil
	}
	return deploy.Unchanged("there"), nil
}

// removal is of the operator's user alone, with which its right and role go.
func (p *part) removal(ctx context.Context) (deploy.Change, error) {
	switch p.name {
	case adapter.PartOperator:
	case adapter.PartRight, adapter.PartRole:
		return deploy.Unchanged("goes with the operator"), nil
	default:
		return deploy.Unchanged("kept: with it would go the role of every device"), nil
	}
	missing, err := p.look(ctx)
	switch {
	case errors.Is(err, errNoZitadel):
		return deploy.Unchanged("kept: Zitadel is not there to be asked"), nil
	case err != nil:
		return deploy.Change{}, err
	case len(missing) > 0:
		return deploy.Unchanged("not there"), nil
	}
	return deploy.Change{Action: deploy.ActionDelete, Summary: "remove the service user " + p.score.prefix().OperatorID() + ", its key and its right"}, nil
}

// Apply implements deploy.Resource.
func (p *part) Apply(ctx context.Context, goal deploy.Goal, _ deploy.Progress) error {
	return p.score.administer(ctx, p.topology, func(setup *adapter.FleetSetup) error {
		if goal == deploy.Absent {
			if _, err := setup.Find(ctx); err != nil {
				return err
			}
			return setup.RemoveOperator(ctx)
		}
		found, err := setup.Part(p.name)
		if err != nil {
			return err
		}
		return found.Make(ctx)
	})
}
