package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func newDeleteCommand(app *cli.App) *cobra.Command {
	var wait bool
	var timeout time.Duration
	command := &cobra.Command{
		Use:   "delete (deployment|device) NAME…",
		Short: "Delete deployments, or remove devices from the registry",
		Long: `delete deployment stops a deployment on all its devices and waits until no
device that is online has it any more. Devices that are offline stop it when
they connect again.

delete device removes a device from the registry: no deployment is for it any
more. A device whose credential still works can go on connecting, and is then
shown as Unregistered.`,
		Example: `  fleet delete deployment web
  fleet delete deployment web --wait=false
  fleet delete device paris-01`,
		Args:              cli.AtLeastOne("deployment or device, such as `delete deployment NAME`"),
		ValidArgsFunction: completeObjects(app, kindDeployment, kindDevice),
		RunE: func(command *cobra.Command, args []string) error {
			k, names, err := parseObjects(args, kindDeployment, kindDevice)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				return cli.Usagef("which %s? name at least one", k)
			}
			if timeout < 0 {
				return cli.Usagef("--timeout must not be negative")
			}
			return app.Follow(command, func(ctx context.Context, session cli.Session) error {
				d := deleter{session: session, out: command.OutOrStdout(), wait: wait, timeout: timeout}
				if k == kindDevice {
					return d.each(names, func(name string) error { return d.device(ctx, contracts.DeviceID(name)) })
				}
				return d.each(names, func(name string) error { return d.deployment(ctx, contracts.DeploymentName(name)) })
			})
		},
	}
	command.Flags().BoolVar(&wait, "wait", true, "wait until no online device has the deployment any more")
	command.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "longest time to wait, 0 for ever; the deletion itself stands")
	return command
}

type deleter struct {
	session cli.Session
	out     io.Writer
	wait    bool
	timeout time.Duration
}

// each goes on after a failure, and returns all of them.
func (d deleter) each(names []string, remove func(string) error) error {
	var wrong []error
	for _, name := range names {
		wrong = append(wrong, remove(name))
	}
	return errors.Join(wrong...)
}

func (d deleter) device(ctx context.Context, id contracts.DeviceID) error {
	for {
		stored, err := d.session.Devices.Get(ctx, id)
		if errors.Is(err, domain.ErrNotFound) {
			return missing(kindDevice, string(id))
		}
		if err != nil {
			return err
		}
		err = d.session.Devices.Delete(ctx, id, stored.Revision)
		if errors.Is(err, domain.ErrConflict) && ctx.Err() == nil {
			continue // it changed meanwhile
		}
		if err != nil && !errors.Is(err, domain.ErrNotFound) {
			return err
		}
		return d.say("device/%s deleted", id)
	}
}

func (d deleter) deployment(ctx context.Context, name contracts.DeploymentName) error {
	for {
		stored, err := d.session.Deployments.Get(ctx, name)
		if errors.Is(err, domain.ErrNotFound) {
			return d.alreadyDeleted(ctx, name)
		}
		if err != nil {
			return err
		}
		if stored.Origin == contracts.OriginKubernetes {
			return fmt.Errorf("deployment %q is managed by kubernetes: delete it there", name)
		}
		err = d.session.Deployments.Delete(ctx, name, stored.Revision)
		if errors.Is(err, domain.ErrConflict) && ctx.Err() == nil {
			continue // it changed meanwhile
		}
		if err != nil && !errors.Is(err, domain.ErrNotFound) {
			return err
		}
		if err := d.say("deployment/%s deleted", name); err != nil || !d.wait {
			return err
		}
		return d.await(ctx, name)
	}
}

// alreadyDeleted waits for an earlier deletion that is under way.
func (d deleter) alreadyDeleted(ctx context.Context, name contracts.DeploymentName) error {
	_, err := d.session.Statuses.Get(ctx, name)
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return missing(kindDeployment, string(name))
	case err != nil:
		return err
	}
	if err := d.say("deployment/%s is deleted already", name); err != nil || !d.wait {
		return err
	}
	return d.await(ctx, name)
}

// errGone ends the wait.
var errGone = errors.New("gone")

// await waits until the operator says that no online device has the deployment.
func (d deleter) await(ctx context.Context, name contracts.DeploymentName) error {
	limited, cancel := withTimeout(ctx, d.timeout)
	defer cancel()
	progress := progress{out: d.out}
	left := "the operator has not said yet which devices have it"
	err := live.Watch(limited, d.session.Fleet, live.Parts{Deployments: true, Statuses: true}, func(snapshot *live.Snapshot) error {
		if _, declared := snapshot.Deployments[name]; declared {
			return fmt.Errorf("deployment %q was declared again by somebody else", name)
		}
		status, ok := snapshot.Statuses[name]
		if !ok {
			return errGone
		}
		if status.Removing {
			left = fmt.Sprintf("%s still have it, %d of them offline", show.Plural(status.Matched, "device"), status.Offline)
		}
		return progress.say("Waiting for deployment %q to be removed: %s…", name, left)
	})
	switch {
	case errors.Is(err, errGone):
		return d.say("deployment/%s removed from all devices that are online", name)
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return fmt.Errorf("deployment %q is deleted but not removed everywhere after %s: %s; see `fleet describe deployment %s`", name, d.timeout, left, name)
	}
}

func (d deleter) say(format string, args ...any) error {
	_, err := fmt.Fprintf(d.out, format+"\n", args...)
	return err
}

// withTimeout is context.WithTimeout; zero is for ever.
func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// progress prints lines, each once.
type progress struct {
	out  io.Writer
	last string
}

func (p *progress) say(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	if line == p.last {
		return nil
	}
	p.last = line
	_, err := fmt.Fprintln(p.out, line)
	return err
}
