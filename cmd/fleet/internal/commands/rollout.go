package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
)

// stalledFor is how long a rollout must be stalled before it counts as failed:
// agents try again, and a first failure is often the last.
const stalledFor = 15 * time.Second

func newRolloutCommand(app *cli.App) *cobra.Command {
	command := &cobra.Command{
		Use:   "rollout",
		Short: "Follow a rollout, or go back to an earlier generation",
		Long: `rollout looks at how a deployment's current generation reaches its devices, at
the generations before, and goes back to one of them.`,
		Example: `  fleet rollout status web
  fleet rollout history web
  fleet rollout undo web`,
	}
	command.AddCommand(newRolloutStatusCommand(app), newRolloutHistoryCommand(app), newRolloutUndoCommand(app))
	return command
}

func newRolloutStatusCommand(app *cli.App) *cobra.Command {
	var timeout time.Duration
	var watch bool
	command := &cobra.Command{
		Use:   "status NAME",
		Short: "Wait until a deployment runs on its devices",
		Long: `status waits until the current generation of a deployment runs on every targeted
device that is online, and prints a line whenever something changed. Devices
that are offline are not waited for: they catch up when they connect.

It fails (exit code 1) when no device makes progress for 15 seconds and some do
not run it, with the reasons; when the timeout is over; or when the deployment
is deleted.`,
		Example: `  fleet rollout status web --timeout 5m

  # How is it now?
  fleet rollout status web --watch=false`,
		Args:              cli.ExactlyOne("deployment"),
		ValidArgsFunction: completeNames(app, kindDeployment),
		RunE: func(command *cobra.Command, args []string) error {
			name, err := deploymentName(args[0])
			if err != nil {
				return err
			}
			if timeout < 0 {
				return cli.Usagef("--timeout must not be negative")
			}
			return app.Follow(command, func(ctx context.Context, session cli.Session) error {
				r := rolloutStatus{name: contracts.DeploymentName(name), progress: progress{out: command.OutOrStdout()}, once: !watch}
				return r.run(ctx, session, timeout)
			})
		},
	}
	command.Flags().DurationVar(&timeout, "timeout", 0, "longest time to wait, 0 for ever")
	command.Flags().BoolVarP(&watch, "watch", "w", true, "wait; with --watch=false say how it is now")
	return command
}

type rolloutStatus struct {
	name     contracts.DeploymentName
	progress progress
	once     bool
	// status and generation are what was seen last.
	status     contracts.DeploymentStatus
	generation uint64
	// stalledSince is zero when it is not stalled.
	stalledSince time.Time
}

// errArrived ends the wait.
var errArrived = errors.New("arrived")

func (r *rolloutStatus) run(ctx context.Context, session cli.Session, timeout time.Duration) error {
	limited, cancel := withTimeout(ctx, timeout)
	defer cancel()
	err := live.Watch(limited, session.Fleet, live.Parts{Deployments: true, Statuses: true}, r.look)
	switch {
	case errors.Is(err, errArrived):
		return nil
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return r.failed(fmt.Sprintf("not done after %s", timeout))
	}
}

// look prints how it is, and returns how it ended when it did.
func (r *rolloutStatus) look(snapshot *live.Snapshot) error {
	stored, ok := snapshot.Deployments[r.name]
	if !ok {
		if r.generation != 0 {
			return fmt.Errorf("deployment %q was deleted meanwhile", r.name)
		}
		return missing(kindDeployment, string(r.name))
	}
	r.generation, r.status = stored.Generation, snapshot.Statuses[r.name]
	line, done := r.describe()
	if err := r.progress.say("%s", line); err != nil {
		return err
	}
	switch {
	case done, r.once:
		return errArrived
	case !r.acted() || r.status.Condition(contracts.ConditionStalled).Status != contracts.ConditionTrue:
		r.stalledSince = time.Time{}
	case r.stalledSince.IsZero():
		r.stalledSince = time.Now()
	case time.Since(r.stalledSince) >= stalledFor:
		return r.failed("no progress without help")
	}
	return nil
}

// acted reports whether the status is about the current generation.
func (r *rolloutStatus) acted() bool {
	return r.status.ObservedGeneration >= r.generation && !r.status.Removing
}

// describe returns one line, and whether the rollout is done.
func (r *rolloutStatus) describe() (string, bool) {
	s := r.status
	is := func(t contracts.ConditionType) bool { return s.Condition(t).Status == contracts.ConditionTrue }
	offline := ""
	if s.Offline > 0 {
		offline = fmt.Sprintf("; %d offline, to catch up when they connect", s.Offline)
	}
	switch {
	case !r.acted():
		return fmt.Sprintf("Waiting for deployment %q: the operator has not acted upon generation %d yet…", r.name, r.generation), false
	case s.Matched == 0:
		return fmt.Sprintf("deployment %q targets no device: no registered device has the labels of its selector", r.name), true
	case s.Offline >= s.Matched && s.Running < s.Matched:
		return fmt.Sprintf("Waiting for deployment %q: all %s are offline…", r.name, show.Plural(s.Matched, "targeted device")), false
	case is(contracts.ConditionAvailable) && !is(contracts.ConditionStalled):
		return fmt.Sprintf("deployment %q successfully rolled out: generation %d runs on %d of %s%s",
			r.name, r.generation, s.Running, show.Plural(s.Matched, "device"), offline), true
	}
	counts := []string{fmt.Sprintf("%d pending", s.Pending)}
	if s.Degraded > 0 {
		counts = append(counts, fmt.Sprintf("%d degraded", s.Degraded))
	}
	if s.Failed > 0 {
		counts = append(counts, fmt.Sprintf("%d failed", s.Failed))
	}
	return fmt.Sprintf("Waiting for deployment %q: %d of %s run generation %d (%s)%s…",
		r.name, s.Running, show.Plural(s.Matched, "device"), r.generation, strings.Join(counts, ", "), offline), false
}

// failed tells the reasons that the operator gave.
func (r *rolloutStatus) failed(why string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "rollout of deployment %q, generation %d: %s", r.name, r.generation, why)
	if r.acted() {
		fmt.Fprintf(&text, "; %d of %s run it", r.status.Running, show.Plural(r.status.Matched, "device"))
		writeProblems(&text, r.status.Problems)
	} else {
		text.WriteString("; the operator has not acted upon it: does fleet-operator run?")
	}
	fmt.Fprintf(&text, "\nsee `fleet describe deployment %s`", r.name)
	return errors.New(text.String())
}

func writeProblems(out io.Writer, problems []contracts.Problem) {
	for _, p := range problems {
		_, _ = fmt.Fprintf(out, "\n  %s: %s", p.Device, join(" ", string(p.Phase), show.Because(string(p.Reason), p.Message)))
	}
}
