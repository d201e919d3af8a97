package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	defaultAttempts = 4
	defaultTimeout  = 15 * time.Minute
	firstDelay      = time.Second
	longestDelay    = 15 * time.Second
	// diagnosisTimeout bounds what the companions find out after a failure.
	diagnosisTimeout = 20 * time.Second
)

// runner is one run: it tells what happens and gathers the outcome.
type runner struct {
	options Options
	outcome Outcome
}

func newRunner(score string, options Options) *runner {
	if options.Attempts <= 0 {
		options.Attempts = defaultAttempts
	}
	if options.StepTimeout <= 0 {
		options.StepTimeout = defaultTimeout
	}
	return &runner{options: options, outcome: Outcome{Score: score, Target: options.Target}}
}

// run converges the resources and then proves the checks, until one fails.
func (s *runner) run(ctx context.Context, resources []Resource, goal Goal, checks []check) (Outcome, error) {
	var ids []string
	for _, resource := range resources {
		ids = append(ids, resource.ID())
	}
	for _, check := range checks {
		ids = append(ids, check.id)
	}
	s.emit(Event{State: StateStarted, Steps: ids})
	err := s.steps(ctx, resources, goal, checks)
	state := StateFinished
	switch {
	case errors.Is(err, context.Canceled):
		state = StateCancelled
	case err != nil:
		state = StateFailed
	}
	s.emit(Event{State: state, Message: s.outcome.Summary()})
	return s.outcome, err
}

func (s *runner) steps(ctx context.Context, resources []Resource, goal Goal, checks []check) error {
	for _, resource := range resources {
		if err := s.converge(ctx, resource, goal); err != nil {
			return err
		}
	}
	for _, check := range checks {
		step := Step{ID: check.id}
		err := s.attempt(ctx, &step, func(ctx context.Context) error {
			s.emit(Event{Step: check.id, State: StateWorking})
			return check.run(ctx, s.progress(check.id))
		})
		if err := s.end(ctx, step, StatePassed, "", err); err != nil {
			return err
		}
	}
	return nil
}

// look is the plan of one resource.
func (s *runner) look(ctx context.Context, resource Resource, goal Goal) (Change, error) {
	var change Change
	step := Step{ID: resource.ID()}
	err := s.attempt(ctx, &step, func(ctx context.Context) (err error) {
		change, err = resource.Plan(ctx, goal)
		return err
	})
	if err != nil {
		return change, s.diagnosed(ctx, s.failure(resource.ID(), err))
	}
	return change, nil
}

func (s *runner) converge(ctx context.Context, resource Resource, goal Goal) error {
	step, state := Step{ID: resource.ID()}, StateUnchanged
	err := s.attempt(ctx, &step, func(ctx context.Context) error {
		s.emit(Event{Step: step.ID, State: StateLooking})
		change, err := resource.Plan(ctx, goal)
		if state == StateUnchanged {
			step.Change = change
		}
		if err != nil || change.Action == ActionNone {
			return err
		}
		state = StateChanged // an interrupted change is one
		s.emit(Event{Step: step.ID, State: StateWorking, Message: change.Summary})
		if err := resource.Apply(ctx, goal, s.progress(step.ID)); err != nil {
			return err
		}
		left, err := resource.Plan(ctx, goal)
		if err == nil && left.Action != ActionNone {
			err = domain.Errorf(domain.ErrConflict, "it was changed and still differs (%s): something else changes it as well", left.Summary)
		}
		return err
	})
	return s.end(ctx, step, state, step.Change.Summary, err)
}

// attempt tries what may help to be tried again, within limits.
func (s *runner) attempt(ctx context.Context, step *Step, try func(context.Context) error) error {
	delay := firstDelay
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		step.Attempts++
		late := domain.Errorf(context.DeadlineExceeded, "it did not finish within %s", s.options.StepTimeout)
		limited, cancel := context.WithTimeoutCause(ctx, s.options.StepTimeout, late)
		err := try(limited)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case limited.Err() != nil:
			err = fmt.Errorf("%w: %w", late, err)
		}
		late = limited.Err()
		cancel()
		if err == nil || late != nil || step.Attempts >= s.options.Attempts || !errors.Is(err, domain.ErrUnavailable) {
			return err
		}
		s.emit(Event{Step: step.ID, State: StateRetrying, Message: fmt.Sprintf("again in %s: %v", delay, err)})
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(2*delay, longestDelay)
	}
}

// end records and tells the end of a step.
func (s *runner) end(ctx context.Context, step Step, state State, message string, err error) error {
	step.State = state
	var failure *Error
	if err != nil {
		step.State, message = StateFailed, err.Error()
		if errors.Is(err, context.Canceled) {
			step.State = StateCancelled
		}
		failure = s.failure(step.ID, err)
	}
	s.outcome.Steps = append(s.outcome.Steps, step)
	s.emit(Event{Step: step.ID, State: step.State, Message: message})
	if failure == nil {
		return nil
	}
	return s.diagnosed(ctx, failure)
}

func (s *runner) failure(step string, err error) *Error {
	return &Error{Score: s.outcome.Score, Target: s.outcome.Target, Step: step, Cause: err, Next: nextOf(err)}
}

// diagnosed adds what the companions find out, unless somebody wants to leave.
func (s *runner) diagnosed(ctx context.Context, failure *Error) *Error {
	if ctx.Err() != nil {
		return failure
	}
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	for _, companion := range s.options.Companions {
		if companion.Diagnose == nil {
			continue
		}
		lines, err := companion.Diagnose(ctx, failure)
		if err != nil {
			lines = append(lines, fmt.Sprintf("%s: no diagnosis: %v", companion.Name, err))
		}
		failure.Diagnosis = append(failure.Diagnosis, lines...)
	}
	return failure
}

func (s *runner) progress(step string) Progress {
	return func(note string) { s.emit(Event{Step: step, State: StateWorking, Message: note}) }
}

func (s *runner) emit(event Event) {
	event.Score, event.Target = s.outcome.Score, s.outcome.Target
	for _, companion := range s.options.Companions {
		if companion.Observe != nil {
			companion.Observe(event)
		}
	}
}
