package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

func newEnrollCommand(app *cli.App) *cobra.Command {
	command := &cobra.Command{
		Use:   "enroll",
		Short: "Bring devices into the fleet",
		Long: `enroll invites devices and decides about those that come. A device that is
invited has a one-time token; with it "fleet-agent enroll" makes a key on the
device and gets the device's identity. The key never leaves the device.`,
		Example: `  # One device, at once
  fleet enroll create pi-042 -l site=paris
  # On the device
  fleet-agent enroll --server tls://broker.example:4222 --token-file token
  # A device that a person looks at first
  fleet enroll create pi-043 --manual
  fleet enroll list
  fleet enroll approve pi-043`,
	}
	command.AddCommand(newEnrollCreateCommand(app), newEnrollListCommand(app), newEnrollApproveCommand(app), newEnrollDenyCommand(app))
	return command
}

func newEnrollApproveCommand(app *cli.App) *cobra.Command {
	var all bool
	command := &cobra.Command{
		Use:   "approve (DEVICE… | --all)",
		Short: "Let devices have their identity",
		Long: `approve lets devices that wait for a person collect their credential. The device
does so by itself the next time it asks. What is approved is the key that the
device showed: compare it with the one that "fleet-agent enroll" prints.`,
		Example: `  fleet enroll approve pi-043
  # Every device that waits
  fleet enroll approve --all`,
		ValidArgsFunction: completeEnrollments(app),
		RunE: func(command *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return cli.Usagef("which devices? name them, or take all that wait with --all")
			}
			devices, err := parseDevices(args)
			if err != nil {
				return err
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				if all {
					if devices, err = waitingDevices(ctx, session.Enrollments); err != nil {
						return err
					}
				}
				return decideAll(ctx, session, devices, contracts.EventEnrollmentApproved, "", command.OutOrStdout(),
					func(device contracts.DeviceID) error {
						_, err := enrollment.Approve(ctx, session.Enrollments, device)
						return err
					})
			})
		},
	}
	command.Flags().BoolVar(&all, "all", false, "all devices that wait for a person")
	return command
}

func newEnrollDenyCommand(app *cli.App) *cobra.Command {
	var reason string
	command := &cobra.Command{
		Use:   "deny DEVICE… --reason TEXT",
		Short: "Refuse devices that want to enroll",
		Long: `deny refuses devices. They go on asking, seldom, and say on the spot why they are
refused. "fleet enroll approve" takes it back. A device that has its identity
already is kept out with "fleet device revoke".`,
		Example:           `  fleet enroll deny pi-043 --reason "unknown serial number"`,
		Args:              cli.AtLeastOne("device"),
		ValidArgsFunction: completeEnrollments(app),
		RunE: func(command *cobra.Command, args []string) error {
			devices, err := parseDevices(args)
			if err != nil {
				return err
			}
			if reason == "" {
				return cli.Usagef("why? the device shows --reason to whoever stands before it")
			}
			if len(reason) > contracts.MaxMessageBytes {
				return cli.Usagef("--reason: must be at most %d bytes", contracts.MaxMessageBytes)
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				return decideAll(ctx, session, devices, contracts.EventEnrollmentDenied, reason, command.OutOrStdout(),
					func(device contracts.DeviceID) error {
						_, err := enrollment.Deny(ctx, session.Enrollments, device, reason)
						return err
					})
			})
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "why, for whoever stands before the device")
	return command
}

// decideAll decides about each device, tells the audit, and goes on after a
// failure.
func decideAll(ctx context.Context, session cli.Session, devices []contracts.DeviceID, kind contracts.EventKind, why string, out io.Writer, decide func(contracts.DeviceID) error) error {
	word := "approved"
	if kind == contracts.EventEnrollmentDenied {
		word = "denied"
	}
	var wrong []error
	for _, device := range devices {
		err := decide(device)
		if errors.Is(err, domain.ErrNotFound) {
			err = fmt.Errorf("device %q is not expected: invite it with `fleet enroll create %s`", device, device)
		}
		if err == nil {
			err = audit(ctx, session, contracts.Event{Kind: kind, Device: device, Reason: "Person", Message: why})
		}
		if err == nil {
			_, err = fmt.Fprintf(out, "device/%s %s\n", device, word)
		}
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// audit records what a person did.
func audit(ctx context.Context, session cli.Session, event contracts.Event) error {
	event.Time, event.Actor = time.Now().UTC(), session.Actor
	if err := session.Events.Append(ctx, event); err != nil {
		return fmt.Errorf("device %q: it is done, but could not be recorded as an event: %w", event.Device, err)
	}
	return nil
}

func waitingDevices(ctx context.Context, store domain.EnrollmentStore) ([]contracts.DeviceID, error) {
	intents, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	var devices []contracts.DeviceID
	for _, intent := range intents {
		if intent.State == contracts.EnrollmentReview && time.Now().Before(intent.ExpiresAt) {
			devices = append(devices, intent.Device)
		}
	}
	if len(devices) == 0 {
		return nil, errors.New("no device waits for a person: see `fleet enroll list`")
	}
	return devices, nil
}

// completeEnrollments completes devices that are not enrolled yet.
func completeEnrollments(app *cli.App) completer {
	return func(command *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var words []cobra.Completion
		_ = app.Do(command, func(ctx context.Context, session cli.Session) error { // nothing to complete then
			intents, err := session.Enrollments.List(ctx)
			for _, intent := range intents {
				if name := string(intent.Device); intent.State != contracts.EnrollmentDone && !slices.Contains(args, name) {
					words = append(words, name)
				}
			}
			return err
		})
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}
