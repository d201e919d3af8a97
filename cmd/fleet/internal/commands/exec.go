package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// execFailed is the exit code when it is not that of the command.
	execFailed = 255
	// execInterrupted is the exit code when nobody waited for the end.
	execInterrupted = 130
	// execGrace is how long after the command's timeout the answer may come: the
	// device kills it first.
	execGrace = 20 * time.Second
)

func newExecCommand(app *cli.App) *cobra.Command {
	var timeout time.Duration
	var format string
	command := &cobra.Command{
		Use:   "exec DEVICE[/DEPLOYMENT[/SERVICE]] -- COMMAND [ARG…]",
		Short: "Run a command on a device, or in a service",
		Long: `exec runs a command on the host of a device, or in a service of a deployment, and
prints what it wrote, up to 256 KiB, once it has ended. There is no shell but the
one that you name, no terminal and no input.

The device must be online and its configuration must allow it: exec = "workloads"
or "all" under [commands]. A command that does not end within --timeout is killed
with all that it started.

That a command is asked for, by whom and with which words, is recorded before it
is sent, and how it ended after it: see ` + "`fleet get events --kind CommandExecuted`" + `.
Put no secrets into the words.

Exit code: that of the command, 128 and the signal's number when a signal ended
it, 126 or 127 when there is no such program; 255 when it was not run, was killed
at its timeout, or its end is not known, with the reason on standard error after
"Error:"; 2 for a mistake on the command line; 130 interrupted.`,
		Example: `  fleet exec paris-01 -- uname -a
  fleet exec paris-01 --timeout 2m -- sh -c 'journalctl -u fleet-agent | tail'
  fleet exec paris-01/web/nginx -- nginx -T`,
		Args:              execArgs,
		ValidArgsFunction: completeExec(app),
		RunE: func(command *cobra.Command, args []string) error {
			device, request, err := parseExec(args[0])
			if err != nil {
				return err
			}
			request.Command, request.Timeout = args[1:], contracts.Duration(timeout)
			if err := request.Validate(); err != nil {
				return cli.Usagef("%w: see --timeout and the words after --", err)
			}
			if !slices.Contains([]show.Format{show.FormatTable, show.FormatJSON, show.FormatYAML}, show.Format(format)) {
				return cli.Usagef("-o %s is unknown: use json or yaml", format)
			}
			var result contracts.ExecResult
			err = app.Follow(command, func(ctx context.Context, session cli.Session) error {
				bus := cli.WithTimeout(session.Commands, timeout+execGrace)
				var err error
				result, err = domain.Exec(ctx, bus, session.Events, app.Actor(), device, request)
				if _, ok := errors.AsType[*domain.UnrecordedError](err); ok || err == nil {
					return err
				}
				return deviceError(device, err)
			})
			return printExec(command, device, request, result, err, show.Format(format))
		},
	}
	command.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "time after which the device kills the command, 1s to 10m")
	command.Flags().StringVarP(&format, "output", "o", "", "json or yaml; without, what the command wrote, as it is")
	completeWords(command, "output", "json", "yaml")
	return command
}

// execArgs accepts one place, "--" and a command.
func execArgs(command *cobra.Command, args []string) error {
	dash := command.ArgsLenAtDash()
	switch {
	case len(args) == 0 || dash == 0 || dash > 1:
		return errors.New("name one device as DEVICE, DEVICE/DEPLOYMENT or DEVICE/DEPLOYMENT/SERVICE")
	case dash < 0 && len(args) > 1:
		return fmt.Errorf("put -- before the command: `%s %s -- %s`", command.CommandPath(), args[0], strings.Join(args[1:], " "))
	case len(args) == 1:
		return errors.New("name the command after --")
	}
	return nil
}

// parseExec reads where a command shall run.
func parseExec(arg string) (contracts.DeviceID, contracts.ExecRequest, error) {
	if !strings.Contains(arg, "/") {
		devices, err := parseDevices([]string{arg})
		if err != nil {
			return "", contracts.ExecRequest{}, err
		}
		return devices[0], contracts.ExecRequest{}, nil
	}
	device, place, err := parseLog(arg)
	return device, contracts.ExecRequest{Deployment: place.Deployment, Service: place.Service}, err
}

// execution is the shown form of a command's end.
type execution struct {
	Device     string   `json:"device"`
	Deployment string   `json:"deployment,omitempty"`
	Service    string   `json:"service,omitempty"`
	Command    []string `json:"command"`
	ExitCode   int      `json:"exitCode"`
	// Output has a replacement character for each byte that is no text.
	Output    string `json:"output"`
	Truncated bool   `json:"truncated"`
	TimedOut  bool   `json:"timedOut"`
}

// printExec writes the output and returns the exit code as an error.
func printExec(command *cobra.Command, device contracts.DeviceID, request contracts.ExecRequest, result contracts.ExecResult, err error, format show.Format) error {
	complain := func(format string, args ...any) { _, _ = fmt.Fprintf(command.ErrOrStderr(), format+"\n", args...) }
	if unrecorded, ok := errors.AsType[*domain.UnrecordedError](err); ok && unrecorded.Sent {
		complain("Warning: %v", unrecorded)
		err = nil
	}
	switch {
	case err != nil && command.Context().Err() != nil:
		return &cli.Code{Code: execInterrupted, Err: fmt.Errorf("interrupted: if the command had begun, it goes on on device %q until it ends, at most %s", device, request.Timeout.Std())}
	case err != nil:
		return &cli.Code{Code: execFailed, Err: err}
	}
	if format == show.FormatTable {
		_, err = command.OutOrStdout().Write(result.Output)
	} else {
		err = show.Write(command.OutOrStdout(), format, execution{
			Device: string(device), Deployment: string(request.Deployment), Service: request.Service, Command: request.Command,
			ExitCode: result.ExitCode, Output: strings.ToValidUTF8(string(result.Output), "\uFFFD"),
			Truncated: result.Truncated, TimedOut: result.TimedOut,
		})
	}
	if err != nil {
		return &cli.Code{Code: execFailed, Err: fmt.Errorf("write the output: %w", err)}
	}
	if result.Truncated {
		complain("Warning: the command wrote more than %d KiB; the rest is lost", contracts.MaxExecOutput>>10)
	}
	switch {
	case result.TimedOut:
		return &cli.Code{Code: execFailed, Err: fmt.Errorf("device %q killed the command after %s: allow more with --timeout, at most 10m", device, request.Timeout.Std())}
	case result.ExitCode != 0:
		return &cli.Code{Code: result.ExitCode}
	}
	return nil
}

// completeExec completes devices, and deployments after a '/'.
func completeExec(app *cli.App) completer {
	places, devices := completeLogs(app), completeNames(app, kindDevice)
	return func(command *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		if strings.Contains(word, "/") {
			return places(command, args, word)
		}
		return devices(command, args, word)
	}
}
