package deploy

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Job is a Score with its topology: what Run does, for those who handle several
// of different kinds.
type Job interface {
	Plan(ctx context.Context, goal Goal, options Options) (Plan, error)
	Apply(ctx context.Context, options Options) (Outcome, error)
	Smoke(ctx context.Context, options Options) (Outcome, error)
	Destroy(ctx context.Context, options Options) (Outcome, error)
}

// On returns the job of the Score on a topology.
func (r Run[T]) On(topology T) Job { return job[T]{run: r, topology: topology} }

type job[T any] struct {
	run      Run[T]
	topology T
}

func (j job[T]) Plan(ctx context.Context, goal Goal, options Options) (Plan, error) {
	return j.run.Plan(ctx, j.topology, goal, options)
}

func (j job[T]) Apply(ctx context.Context, options Options) (Outcome, error) {
	return j.run.Apply(ctx, j.topology, options)
}

func (j job[T]) Smoke(ctx context.Context, options Options) (Outcome, error) {
	return j.run.Smoke(ctx, j.topology, options)
}

func (j job[T]) Destroy(ctx context.Context, options Options) (Outcome, error) {
	return j.run.Destroy(ctx, j.topology, options)
}

// Each calls do for all items, at most parallel of them at once, whatever
// becomes of the others, and waits for all. The errors stand at their items'
// places, nil where there was none.
func Each[I any](ctx context.Context, parallel int, items []I, do func(context.Context, I) error) []error {
	failures := make([]error, len(items))
	var group errgroup.Group
	group.SetLimit(max(1, parallel))
	for i, item := range items {
		group.Go(func() error {
			failures[i] = do(ctx, item)
			return nil
		})
	}
	_ = group.Wait() // the errors were kept
	return failures
}
