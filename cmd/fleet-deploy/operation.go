package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nationtech/harmony-fleet/cmd/fleet-deploy/internal/site"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/bundle"
	"github.com/nationtech/harmony-fleet/deploy/progress"
)

// operation is one command at work on the targets of a site.
type operation struct {
	options *options
	targets []site.Target
	closers []io.Closer
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
}

func (o *options) open(command *cobra.Command) (*operation, error) {
	described, err := o.read(command)
	if err != nil {
		return nil, err
	}
	op := &operation{options: o, stdin: command.InOrStdin(), stdout: command.OutOrStdout(), stderr: command.ErrOrStderr()}
	environment := site.Environment{Getenv: o.getenv, Removing: command.Name() == "destroy"}
	if o.bundle != "" {
		if environment.Bundle, err = bundle.Open(o.bundle); err != nil {
			return nil, &usageError{cause: withNext(err)}
		}
		op.closers = append(op.closers, environment.Bundle)
	}
	opened, err := described.Open(environment)
	if err != nil {
		return nil, errors.Join(&usageError{cause: fmt.Errorf("%s: %w", described.Name, withNext(err))}, op.close())
	}
	op.closers = append(op.closers, opened.Closers...)
	op.targets, err = opened.Only(o.only)
	if err != nil {
		return nil, errors.Join(&usageError{cause: withNext(err)}, op.close())
	}
	return op, nil
}

// withNext adds what to do to an error that knows it.
func withNext(err error) error {
	if next := deploy.Next(err); next != "" {
		return fmt.Errorf("%w; next: %s", err, next)
	}
	return err
}

func (op *operation) close() error {
	var problems []error
	for _, closer := range op.closers {
		problems = append(problems, closer.Close())
	}
	return errors.Join(problems...)
}

// result is what became of one target.
type result struct {
	Target  string          `json:"target"`
	Plan    *deploy.Plan    `json:"plan,omitempty"`
	Outcome *deploy.Outcome `json:"outcome,omitempty"`
	Failure *failure        `json:"failure,omitempty"`
	took    time.Duration
	err     error
}

// failure is a deploy.Error on the wire.
type failure struct {
	Step      string   `json:"step,omitempty"`
	Error     string   `json:"error"`
	Next      string   `json:"next"`
	Diagnosis []string `json:"diagnosis,omitempty"`
}

func (r *result) fail(err error) {
	r.err = err
	found, ok := errors.AsType[*deploy.Error](err)
	if !ok {
		r.Failure = &failure{Error: err.Error()}
		return
	}
	r.Failure = &failure{Step: found.Step, Error: found.Cause.Error(), Next: found.Next, Diagnosis: found.Diagnosis}
}

// each does one thing for every target and gathers what became of it: stage by
// stage, backwards for the goal Absent, and in each stage several at once.
func (op *operation) each(ctx context.Context, goal deploy.Goal, do func(context.Context, site.Target, *result) error) []result {
	results := make([]result, len(op.targets))
	stages := map[int][]int{}
	for i, target := range op.targets {
		stages[target.Stage] = append(stages[target.Stage], i)
	}
	order := slices.Sorted(maps.Keys(stages))
	if goal == deploy.Absent {
		slices.Reverse(order)
	}
	for _, stage := range order {
		_ = deploy.Each(ctx, op.options.parallel, stages[stage], func(ctx context.Context, i int) error {
			began := time.Now()
			results[i].Target = op.targets[i].Name
			if err := do(ctx, op.targets[i], &results[i]); err != nil {
				results[i].fail(err)
			}
			results[i].took = time.Since(began)
			return nil
		})
	}
	return results
}

// runOptions are those of a target's run, which show observes.
func runOptions(target site.Target, show deploy.Companion) deploy.Options {
	return deploy.Options{Target: target.Name, Companions: append([]deploy.Companion{show}, target.Companions...)}
}

// progress is a live tree on a terminal, and lines or JSON elsewhere. It goes to
// stderr: stdout has the result.
func (op *operation) progress() deploy.Companion { return op.options.progress(op.stderr) }

func (o *options) progress(stderr io.Writer) deploy.Companion {
	if o.output == "json" {
		return progress.JSON(stderr)
	}
	if file, ok := stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return progress.Tree(file, func() (int, int) {
			columns, rows, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 80, 24
			}
			return columns, rows
		})
	}
	return progress.Lines(stderr)
}

func (op *operation) plan(ctx context.Context) error {
	results := op.plans(ctx, deploy.Present)
	return op.report(results)
}

func (op *operation) plans(ctx context.Context, goal deploy.Goal) []result {
	return op.each(ctx, goal, func(ctx context.Context, target site.Target, r *result) error {
		plan, err := target.Job.Plan(ctx, goal, runOptions(target, deploy.Companion{}))
		r.Plan = &plan
		return err
	})
}

func (op *operation) apply(ctx context.Context) error {
	if err := op.confirm(ctx, deploy.Present, "Apply these changes?"); err != nil {
		return err
	}
	show := op.progress()
	return op.report(op.each(ctx, deploy.Present, func(ctx context.Context, target site.Target, r *result) error {
		outcome, err := target.Job.Apply(ctx, runOptions(target, show))
		r.Outcome = &outcome
		return err
	}))
}

func (op *operation) smoke(ctx context.Context) error {
	show := op.progress()
	return op.report(op.each(ctx, deploy.Present, func(ctx context.Context, target site.Target, r *result) error {
		outcome, err := target.Job.Smoke(ctx, runOptions(target, show))
		r.Outcome = &outcome
		return err
	}))
}

func (op *operation) destroy(ctx context.Context) error {
	if err := op.confirm(ctx, deploy.Absent, "Remove these?"); err != nil {
		return err
	}
	show := op.progress()
	return op.report(op.each(ctx, deploy.Absent, func(ctx context.Context, target site.Target, r *result) error {
		outcome, err := target.Job.Destroy(ctx, runOptions(target, show))
		r.Outcome = &outcome
		return err
	}))
}

// confirm shows the plan and asks, unless that was answered with --yes.
func (op *operation) confirm(ctx context.Context, goal deploy.Goal, question string) error {
	if op.options.yes {
		return nil
	}
	file, ok := op.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || op.options.output == "json" {
		return usagef("nobody can be asked here: look at `fleet-deploy plan` and add --yes")
	}
	plans := op.plans(ctx, goal)
	changes := 0
	for _, r := range plans {
		if r.err == nil {
			changes += r.Plan.Changes()
		}
	}
	op.writePlans(op.stderr, plans)
	if changes == 0 {
		return nil // the smoke test remains
	}
	fmt.Fprintf(op.stderr, "%s [y/N] ", question)
	answer, err := bufio.NewReader(op.stdin).ReadString('\n')
	if word := strings.ToLower(strings.TrimSpace(answer)); err != nil || (word != "y" && word != "yes") {
		return errors.New("nothing was changed")
	}
	return nil
}

// report writes the results, and returns errSaid when one is a failure.
func (op *operation) report(results []result) error {
	failed := false
	for _, r := range results {
		failed = failed || r.err != nil
	}
	if op.options.output == "json" {
		encoder := json.NewEncoder(op.stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(struct {
			Results []result `json:"results"`
		}{results}); err != nil {
			return err
		}
	} else if len(results) > 0 && results[0].Plan != nil {
		op.writePlans(op.stdout, results)
	} else {
		writeOutcomes(op.stdout, results)
	}
	if failed {
		return errSaid
	}
	return nil
}
