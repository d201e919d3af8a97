package commands

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

func newRotateCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate DEVICE…",
		Short: "Have devices replace their keys",
		Long: `rotate has devices make a new key and enroll with it, without losing their
connection; the old key stops working. Keys are replaced by themselves a month
before they expire. The devices must be online and enrolled.`,
		Example: `  fleet device rotate pi-042
  # Done when the key is another one
  fleet enroll list -o wide`,
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
					err := enrollment.Rotate(ctx, session.Enrollments, session.Tokens, session.Commands, device)
					switch {
					case errors.Is(err, domain.ErrUnavailable):
						err = deviceError(device, err)
					case err == nil:
						_, err = fmt.Fprintf(command.OutOrStdout(), "device/%s replaces its key\n", device)
					}
					wrong = append(wrong, err)
				}
				return errors.Join(wrong...)
			})
		},
	}
}
