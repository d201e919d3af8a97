package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// shelf is a topology: the things that are there, by name.
type shelf struct {
	things map[string]string
	// broken things fail that many times, with that error.
	broken map[string]int
	err    error
	log    []string
}

func (s *shelf) Put(ctx context.Context, name, value string) error {
	s.log = append(s.log, "put "+name)
	if s.broken[name] > 0 {
		s.broken[name]--
		return s.err
	}
	if value == "" {
		delete(s.things, name)
	} else {
		s.things[name] = value
	}
	return ctx.Err()
}

func (s *shelf) Get(name string) string { return s.things[name] }

type putter interface {
	Put(ctx context.Context, name, value string) error
	Get(name string) string
}

// stack is a Score of things in order.
type stack struct {
	names []string
	smoke error
}

func (stack) Name() string { return "stack" }

func (s stack) Resources(topology putter) ([]deploy.Resource, error) {
	var resources []deploy.Resource
	for _, name := range s.names {
		resources = append(resources, thing{topology, name})
	}
	return resources, nil
}

func (s stack) Smoke(context.Context, putter, deploy.Progress) error { return s.smoke }

type thing struct {
	on   putter
	name string
}

func (t thing) ID() string { return t.name }

func (t thing) Plan(_ context.Context, goal deploy.Goal) (deploy.Change, error) {
	there := t.on.Get(t.name) != ""
	switch {
	case goal == deploy.Present && !there:
		return deploy.Change{Action: deploy.ActionCreate, Summary: "put it there"}, nil
	case goal == deploy.Absent && there:
		return deploy.Change{Action: deploy.ActionDelete, Summary: "take it away"}, nil
	}
	return deploy.Unchanged("fine"), nil
}

func (t thing) Apply(ctx context.Context, goal deploy.Goal, progress deploy.Progress) error {
	progress("handling")
	if goal == deploy.Absent {
		return t.on.Put(ctx, t.name, "")
	}
	return t.on.Put(ctx, t.name, "there")
}

func newShelf() *shelf { return &shelf{things: map[string]string{}, broken: map[string]int{}} }

func states(outcome deploy.Outcome) map[string]deploy.State {
	found := map[string]deploy.State{}
	for _, step := range outcome.Steps {
		found[step.ID] = step.State
	}
	return found
}

func failed(t *testing.T, err error) *deploy.Error {
	t.Helper()
	failure, ok := errors.AsType[*deploy.Error](err)
	require.True(t, ok, "%v", err)
	return failure
}

func TestApplyTwiceChangesNothing(t *testing.T) {
	topology := newShelf()
	run := deploy.For(stack{names: []string{"a", "b"}})

	plan, err := run.Plan(t.Context(), topology, deploy.Present, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, 2, plan.Changes())
	require.Empty(t, topology.log, "a plan changes nothing")

	outcome, err := run.Apply(t.Context(), topology, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed())
	require.Equal(t, "2 changed, 0 as they should be, 1 check passed", outcome.Summary())
	require.Equal(t, deploy.StatePassed, states(outcome)["smoke test"])

	outcome, err = run.Apply(t.Context(), topology, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, "nothing to change: 2 as they should be, 1 check passed", outcome.Summary())
	require.Equal(t, []string{"put a", "put b"}, topology.log)

	plan, err = run.Plan(t.Context(), topology, deploy.Present, deploy.Options{})
	require.NoError(t, err)
	require.Zero(t, plan.Changes())
}

func TestDestroyGoesBackwards(t *testing.T) {
	topology := newShelf()
	run := deploy.For(stack{names: []string{"a", "b"}})
	_, err := run.Apply(t.Context(), topology, deploy.Options{})
	require.NoError(t, err)
	topology.log = nil
	plan, err := run.Plan(t.Context(), topology, deploy.Absent, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, deploy.ActionDelete, plan.Steps[0].Change.Action)
	outcome, err := run.Destroy(t.Context(), topology, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed())
	require.Equal(t, []string{"put b", "put a"}, topology.log)
	require.Empty(t, topology.things)
}

func TestRetriesAreBounded(t *testing.T) {
	for _, test := range []struct {
		name     string
		failures int
		err      error
		attempts int
		succeeds bool
	}{
		{"it recovers", 2, domain.Errorf(domain.ErrUnavailable, "gone for a moment"), 3, true},
		{"it does not", 99, domain.Errorf(domain.ErrUnavailable, "gone for good"), 4, false},
		{"it cannot help", 1, domain.Errorf(domain.ErrInvalid, "wrong"), 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				topology := newShelf()
				topology.broken["b"], topology.err = test.failures, test.err
				began := time.Now()
				outcome, err := deploy.For(stack{names: []string{"a", "b"}}).Apply(t.Context(), topology, deploy.Options{})
				require.Less(t, time.Since(began), time.Minute)
				require.Equal(t, test.attempts, outcome.Steps[1].Attempts)
				if test.succeeds {
					require.NoError(t, err)
					require.Equal(t, deploy.StateChanged, states(outcome)["b"])
					return
				}
				require.ErrorIs(t, err, test.err)
				require.Equal(t, deploy.StateFailed, states(outcome)["b"])
				require.Equal(t, deploy.StateChanged, states(outcome)["a"], "what was done stays")
			})
		})
	}
}

func TestErrorNamesStepCauseAndNext(t *testing.T) {
	topology := newShelf()
	topology.broken["a"] = 1
	topology.err = fmt.Errorf("around: %w", deploy.WithNext(domain.Errorf(domain.ErrPermissionDenied, "no right to put"), "ask %s", "the owner"))
	diagnosis := deploy.Companion{Name: "log", Diagnose: func(context.Context, *deploy.Error) ([]string, error) {
		return []string{"last line"}, errors.New("and no more")
	}}
	_, err := deploy.For(stack{names: []string{"a"}}).Apply(t.Context(), topology, deploy.Options{Target: "top", Companions: []deploy.Companion{diagnosis}})
	failure := failed(t, err)
	require.Equal(t, "a", failure.Step)
	require.Equal(t, "ask the owner", failure.Next)
	require.ErrorIs(t, err, domain.ErrPermissionDenied)
	require.Equal(t, "stack on top: a: around: no right to put; next: ask the owner\n    last line\n    log: no diagnosis: and no more", err.Error())
}

func TestCancellationLeavesAResumableState(t *testing.T) {
	topology := newShelf()
	ctx, cancel := context.WithCancel(t.Context())
	var events []deploy.Event
	watch := deploy.Companion{Name: "watch", Observe: func(event deploy.Event) {
		events = append(events, event)
		if event.Step == "b" && event.State == deploy.StateWorking {
			cancel()
		}
	}}
	run := deploy.For(stack{names: []string{"a", "b", "c"}})
	outcome, err := run.Apply(ctx, topology, deploy.Options{Companions: []deploy.Companion{watch}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "b", failed(t, err).Step)
	require.Equal(t, map[string]deploy.State{"a": deploy.StateChanged, "b": deploy.StateCancelled}, states(outcome))
	require.Equal(t, []string{"a", "b", "c", "smoke test"}, events[0].Steps)
	require.Equal(t, deploy.StateCancelled, events[len(events)-1].State)

	outcome, err = run.Apply(t.Context(), topology, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, deploy.StateUnchanged, states(outcome)["a"])
	require.Equal(t, deploy.StateChanged, states(outcome)["c"])
}

func TestStepTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		check := deploy.Companion{Name: "slow", Check: func(ctx context.Context, _ deploy.Progress) error {
			<-ctx.Done()
			return domain.WrapError(domain.ErrUnavailable, ctx.Err(), "wait")
		}}
		outcome, err := deploy.For(stack{}).Apply(t.Context(), newShelf(), deploy.Options{StepTimeout: time.Minute, Companions: []deploy.Companion{check}})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "it did not finish within 1m0s")
		require.Equal(t, 1, outcome.Steps[1].Attempts)
	})
}

func TestSmokeDecides(t *testing.T) {
	broken := errors.New("no answer")
	outcome, err := deploy.For(stack{names: []string{"a"}, smoke: broken}).Apply(t.Context(), newShelf(), deploy.Options{})
	require.ErrorIs(t, err, broken)
	require.Equal(t, deploy.StateFailed, states(outcome)["smoke test"])
	_, err = deploy.For(stack{smoke: broken}).Smoke(t.Context(), newShelf(), deploy.Options{})
	require.ErrorIs(t, err, broken)
}

func TestWhatDoesNotConvergeFails(t *testing.T) {
	_, err := deploy.For(stubborn{}).Apply(t.Context(), newShelf(), deploy.Options{})
	require.ErrorIs(t, err, domain.ErrConflict)
	_, err = deploy.For(stack{names: []string{"a", "a"}}).Apply(t.Context(), newShelf(), deploy.Options{})
	require.ErrorIs(t, err, domain.ErrInvalid)
}

// stubborn applies without effect.
type stubborn struct{ stack }

func (stubborn) Resources(putter) ([]deploy.Resource, error) {
	return []deploy.Resource{thing{deaf{newShelf()}, "a"}}, nil
}

type deaf struct{ *shelf }

func (deaf) Put(context.Context, string, string) error { return nil }
