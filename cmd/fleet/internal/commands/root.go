// Package commands holds the commands of fleet, one file each.
package commands

import (
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
)

// New returns the root command with all commands but dev.
func New(app *cli.App, version string) *cobra.Command {
	root := &cobra.Command{
		Use:   "fleet",
		Short: "Say what runs on which devices, and see whether it does",
		Long: `fleet talks to a fleet of devices over its broker.

Which fleet is chosen by --server or --context, else by FLEET_NATS_URL or
FLEET_CONTEXT, else by the current context.

Exit codes: 0 done, 1 failed, 2 mistake on the command line, 130 interrupted;
` + "`fleet exec`" + ` has the code of what it ran, and 255 for its own failures.`,
		Example: `  # A local fleet to try things out, until Ctrl-C
  fleet dev

  # In another terminal
  export FLEET_CONTEXT=dev
  fleet apply -f examples/hello.yaml
  fleet rollout status hello
  fleet status`,
		Version: version,
	}
	root.SetVersionTemplate("{{ .Version }}\n")
	app.RegisterFlags(root.PersistentFlags())
	root.AddCommand(
		newApplyCommand(app), newGetCommand(app), newDescribeCommand(app), newDeleteCommand(app),
		newLabelCommand(app), newRolloutCommand(app), newLogsCommand(app), newExecCommand(app), newPingCommand(app),
		newReconcileCommand(app), newEnrollCommand(app), newDeviceCommand(app), newStatusCommand(app), newContextCommand(app), newVersionCommand(version),
	)
	return root
}

func newVersionCommand(version string) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: `  fleet version`,
		Args:    cli.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(command.OutOrStdout(), "fleet %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}

// clock is the time as a session sees it.
func clock(session cli.Session) show.Clock {
	return show.Clock{Now: time.Now(), HeartbeatInterval: session.HeartbeatInterval}
}
