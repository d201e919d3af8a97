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
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// commandTimeout bounds one request to a device; it is longer than a device
// holds a request for more of a log.
const commandTimeout = 20 * time.Second

// deviceError says what a failed request means, and what to do next.
func deviceError(device contracts.DeviceID, err error) error {
	if answered, ok := errors.AsType[*domain.DeviceError](err); ok && errors.Is(err, domain.ErrUnavailable) {
		return fmt.Errorf("device %q answered, but cannot do it now: %w; see what it reports with `fleet describe device %s`, or run `fleet-agent doctor` on it", device, answered, device)
	}
	if errors.Is(err, domain.ErrUnavailable) {
		return fmt.Errorf("%w; see when it was last seen: `fleet describe device %s`", err, device)
	}
	return fmt.Errorf("device %q: %w", device, err)
}

// parseDevices checks names before anything is sent.
func parseDevices(args []string) ([]contracts.DeviceID, error) {
	devices := make([]contracts.DeviceID, len(args))
	for i, arg := range args {
		id, err := contracts.ParseDeviceID(strings.TrimPrefix(arg, "device/"))
		if err != nil {
			return nil, cli.Usagef("device %q: %w", arg, err)
		}
		devices[i] = id
	}
	return devices, nil
}

func newLogsCommand(app *cli.App) *cobra.Command {
	var follow bool
	var tail int
	command := &cobra.Command{
		Use:   "logs DEVICE/DEPLOYMENT[/SERVICE]",
		Short: "Print the log of a service on a device",
		Long: `logs prints what a service wrote on one device. The service must be named when
the deployment has more than one. The device must be online.`,
		Example: `  fleet logs paris-01/hello
  fleet logs paris-01/web/nginx --tail 100 -f`,
		Args:              cli.ExactlyOne("log as DEVICE/DEPLOYMENT or DEVICE/DEPLOYMENT/SERVICE"),
		ValidArgsFunction: completeLogs(app),
		RunE: func(command *cobra.Command, args []string) error {
			device, request, err := parseLog(args[0])
			if err != nil {
				return err
			}
			request.Tail, request.Follow = tail, follow
			return app.Follow(command, func(ctx context.Context, session cli.Session) error {
				bus := cli.WithTimeout(session.Commands, commandTimeout)
				if err := domain.CopyLogs(ctx, bus, device, request, command.OutOrStdout()); err != nil {
					return deviceError(device, err)
				}
				if !follow {
					return ctx.Err()
				}
				return nil
			})
		},
	}
	command.Flags().BoolVarP(&follow, "follow", "f", false, "go on at the end of the log, until Ctrl-C")
	command.Flags().IntVar(&tail, "tail", -1, "number of last lines to begin with; -1 for all that are kept")
	return command
}

func parseLog(arg string) (contracts.DeviceID, contracts.LogsRequest, error) {
	parts := strings.Split(arg, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return "", contracts.LogsRequest{}, cli.Usagef("%q must be DEVICE/DEPLOYMENT or DEVICE/DEPLOYMENT/SERVICE", arg)
	}
	device, err := contracts.ParseDeviceID(parts[0])
	if err != nil {
		return "", contracts.LogsRequest{}, cli.Usagef("device %q: %w", parts[0], err)
	}
	request := contracts.LogsRequest{Deployment: contracts.DeploymentName(parts[1])}
	if len(parts) == 3 {
		if request.Service = parts[2]; request.Service == "" {
			return "", contracts.LogsRequest{}, cli.Usagef("%q names no service after the last '/'", arg)
		}
	}
	if err := request.Validate(); err != nil {
		return "", contracts.LogsRequest{}, cli.Usagef("%q: %w", arg, err)
	}
	return device, request, nil
}

// completeLogs completes the device, then the deployment.
func completeLogs(app *cli.App) completer {
	return func(command *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var words []cobra.Completion
		if device, _, ok := strings.Cut(word, "/"); ok {
			for _, name := range namesOf(app, command, kindDeployment) {
				words = append(words, device+"/"+name)
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		}
		for _, name := range namesOf(app, command, kindDevice) {
			words = append(words, name+"/")
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

func newReconcileCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "reconcile DEVICE…",
		Short: "Make devices compare and repair now",
		Long: `reconcile asks devices to compare what runs with what should run, now, and to
forget the pauses after earlier failures. Devices do so by themselves as well.`,
		Example:           `  fleet reconcile paris-01`,
		Args:              cli.AtLeastOne("device"),
		ValidArgsFunction: completeNames(app, kindDevice),
		RunE: func(command *cobra.Command, args []string) error {
			devices, err := parseDevices(args)
			if err != nil {
				return err
			}
			return app.Follow(command, func(ctx context.Context, session cli.Session) error {
				bus := cli.WithTimeout(session.Commands, commandTimeout)
				var wrong []error
				for _, device := range devices {
					wrong = append(wrong, reconcile(ctx, bus, device, command.OutOrStdout()))
				}
				return errors.Join(wrong...)
			})
		},
	}
}

func reconcile(ctx context.Context, bus domain.CommandBus, device contracts.DeviceID, out io.Writer) error {
	if _, err := domain.Call[contracts.Empty](ctx, bus, device, contracts.VerbReconcile, contracts.Empty{}); err != nil {
		return deviceError(device, err)
	}
	_, err := fmt.Fprintf(out, "device/%s reconciling\n", device)
	return err
}
