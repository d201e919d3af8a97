package deploy

import (
	"context"
	"errors"

	"github.com/nationtech/harmony-fleet/domain"
)

// Late is a resource that is known in full only once others are there, such as
// one that names a key that is made in the cluster.
type Late struct {
	// Resource is as far as it is known: it has its ID, and finds and removes what
	// is there.
	Resource
	// Complete fills in the rest of it: domain.ErrNotFound while what it needs is
	// not there. It is called before each look and change.
	Complete func(ctx context.Context) error
}

var _ Resource = (*Late)(nil)

// Plan implements Resource. What cannot be completed yet is to be made or
// changed, since what it needs will be.
func (l *Late) Plan(ctx context.Context, goal Goal) (Change, error) {
	if goal == Absent {
		return l.Resource.Plan(ctx, goal)
	}
	err := l.Complete(ctx)
	if err == nil {
		return l.Resource.Plan(ctx, goal)
	}
	if !errors.Is(err, domain.ErrNotFound) {
		return Change{}, err
	}
	change, failure := l.Resource.Plan(ctx, Absent)
	if failure != nil {
		return Change{}, failure
	}
	details := []string{err.Error()}
	if change.Action == ActionNone {
		return Change{Action: ActionCreate, Summary: "make it, once what it needs is there", Details: details}, nil
	}
	return Change{Action: ActionUpdate, Summary: "adapt it, once what it needs is there", Details: details}, nil
}

// Apply implements Resource.
func (l *Late) Apply(ctx context.Context, goal Goal, progress Progress) error {
	if goal == Present {
		if err := l.Complete(ctx); err != nil {
			return err
		}
	}
	return l.Resource.Apply(ctx, goal, progress)
}

// Inner returns what this package wrapped, for those who look for resources of a
// kind: any other resource is returned as it is.
func Inner(resource Resource) Resource {
	for {
		switch wrapped := resource.(type) {
		case *Late:
			resource = wrapped.Resource
		case nested:
			resource = wrapped.Resource
		default:
			return resource
		}
	}
}
