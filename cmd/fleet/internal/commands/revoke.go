package commands

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func newDeviceCommand(app *cli.App) *cobra.Command {
	command := &cobra.Command{
		Use:   "device",
		Short: "Revoke and restore devices, and renew their keys",
		Long: `device takes a device's access to the fleet away and gives it back. To see
devices, use "fleet get devices".`,
		Example: `  fleet device revoke pi-042 --reason "stolen from the van"
  fleet device restore pi-042
  fleet device rotate pi-042`,
	}
	command.AddCommand(
		newAccessCommand(app, accessChange{
			verb: "revoke", word: "revoked", revoked: true, kind: contracts.EventDeviceRevoked,
			short: "Take devices' access away, now",
			long: `revoke disconnects devices from the broker within seconds and keeps them out,
however long their tokens are valid, and has the identity provider drop their
keys. What runs on them goes on running: the fleet cannot reach them any more.
Rollouts leave them out. What they held must be taken as known to whoever has
them: rotate the secrets of their workloads.

It needs the auth callout, which does the rest once the registry says so. A
broker that knows its devices by itself goes on letting them in.`,
			next: "out of every rollout; where devices connect through the callout, it is disconnected within seconds and refused from now on",
		}),
		newAccessCommand(app, accessChange{
			verb: "restore", word: "restored", kind: contracts.EventDeviceRestored,
			short: "Give revoked devices their access back",
			long: `restore lets devices connect again. Their old keys stay dead at the identity
provider: a device whose token has expired meanwhile enrolls again, with a token
that "fleet enroll create" makes.`,
			next: "it connects by itself while its token is valid; later it must enroll again: see `fleet enroll create --help`",
		}),
		newRotateCommand(app),
	)
	return command
}

// accessChange is what to do with the access of devices.
type accessChange struct {
	verb, word, short, long string
	revoked                 bool
	kind                    contracts.EventKind
	// next says what happens now.
	next string
}

func newAccessCommand(app *cli.App, change accessChange) *cobra.Command {
	var reason string
	command := &cobra.Command{
		Use:   change.verb + " DEVICE…",
		Short: change.short,
		Long:  change.long,
		Example: fmt.Sprintf(`  fleet device %[1]s pi-042
  fleet device %[1]s pi-042 pi-043 --reason "ticket 4711"`, change.verb),
		Args:              cli.AtLeastOne("device"),
		ValidArgsFunction: completeNames(app, kindDevice),
		RunE: func(command *cobra.Command, args []string) error {
			devices, err := parseDevices(args)
			if err != nil {
				return err
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				var wrong []error
				for _, device := range devices {
					wrong = append(wrong, change.apply(ctx, session, device, reason, command.OutOrStdout()))
				}
				return errors.Join(wrong...)
			})
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	return command
}

func (c accessChange) apply(ctx context.Context, session cli.Session, id contracts.DeviceID, reason string, out io.Writer) error {
	_, err := domain.UpdateDevice(ctx, session.Devices, id, func(device *domain.FleetDevice) error {
		if device.Revoked == c.revoked {
			return errSame
		}
		device.Revoked = c.revoked
		return nil
	})
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return missing(kindDevice, string(id))
	case errors.Is(err, errSame):
		_, err = fmt.Fprintf(out, "device/%s not %s: it is so already\n", id, c.word)
		return err
	case err != nil:
		return err
	}
	if _, err := fmt.Fprintf(out, "device/%s %s: %s\n", id, c.word, c.next); err != nil {
		return err
	}
	return audit(ctx, session, contracts.Event{Kind: c.kind, Device: id, Reason: "Person", Message: reason})
}
