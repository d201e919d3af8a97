package deploy

import (
	"context"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// Options of a run. The zero value works.
type Options struct {
	// Target names the topology in events and errors, where there are several.
	Target string
	// Attempts bounds how often a step is tried that fails with
	// domain.ErrUnavailable; 4 by default.
	Attempts int
	// StepTimeout bounds one attempt; 15 minutes by default.
	StepTimeout time.Duration
	Companions  []Companion
}

// Run is a Score that can be applied to topologies.
type Run[T any] struct {
	score Score[T]
}

// For returns the run of a Score.
func For[T any](score Score[T]) Run[T] { return Run[T]{score: score} }

// Plan returns what Apply would change or, for the goal Absent, Destroy. It
// changes nothing. Errors of all methods are of type *Error.
func (r Run[T]) Plan(ctx context.Context, topology T, goal Goal, options Options) (Plan, error) {
	s := newRunner(r.score.Name(), options)
	plan := Plan{Score: s.outcome.Score, Target: s.outcome.Target}
	resources, err := r.resources(s, topology, goal)
	for _, resource := range resources {
		var change Change
		change, err = s.look(ctx, resource, goal)
		if err != nil {
			break
		}
		plan.Steps = append(plan.Steps, Planned{ID: resource.ID(), Change: change})
	}
	return plan, err
}

// Apply makes everything so, and then proves it with the smoke test and the
// companions' checks. It changes only what differs.
func (r Run[T]) Apply(ctx context.Context, topology T, options Options) (Outcome, error) {
	s := newRunner(r.score.Name(), options)
	resources, err := r.resources(s, topology, Present)
	if err != nil {
		return s.outcome, err
	}
	return s.run(ctx, resources, Present, r.checks(topology, options))
}

// Smoke runs the smoke test and the companions' checks alone.
func (r Run[T]) Smoke(ctx context.Context, topology T, options Options) (Outcome, error) {
	s := newRunner(r.score.Name(), options)
	if _, err := r.resources(s, topology, Present); err != nil {
		return s.outcome, err
	}
	return s.run(ctx, nil, Present, r.checks(topology, options))
}

// Destroy removes what Apply made, in the opposite order, besides what is kept
// on purpose.
func (r Run[T]) Destroy(ctx context.Context, topology T, options Options) (Outcome, error) {
	s := newRunner(r.score.Name(), options)
	resources, err := r.resources(s, topology, Absent)
	if err != nil {
		return s.outcome, err
	}
	return s.run(ctx, resources, Absent, nil)
}

func (r Run[T]) resources(s *runner, topology T, goal Goal) ([]Resource, error) {
	resources, err := r.score.Resources(topology)
	if err != nil {
		return nil, s.failure("", err)
	}
	seen := map[string]bool{}
	for _, resource := range resources {
		if seen[resource.ID()] {
			return nil, s.failure(resource.ID(), domain.Errorf(domain.ErrInvalid, "the score names two resources so"))
		}
		seen[resource.ID()] = true
	}
	if goal == Absent {
		slices.Reverse(resources)
	}
	return resources, nil
}

// check is a smoke test or a companion's check.
type check struct {
	id  string
	run func(context.Context, Progress) error
}

func (r Run[T]) checks(topology T, options Options) []check {
	checks := []check{{id: "smoke test", run: func(ctx context.Context, progress Progress) error {
		return r.score.Smoke(ctx, topology, progress)
	}}}
	for _, companion := range options.Companions {
		if companion.Check != nil {
			checks = append(checks, check{id: companion.Name, run: companion.Check})
		}
	}
	return checks
}
