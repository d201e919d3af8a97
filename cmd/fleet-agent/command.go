package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/enroll"
)

// configVariable names the configuration file when --config does not.
const configVariable = "FLEET_AGENT_CONFIG"

// usageError is a mistake on the command line.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

// exitCode is 1 for a failure, 2 for a mistake on the command line, and 3 to 5
// for an enrollment that did not come to its end; deploy/agent reads these.
func exitCode(err error) int {
	if _, ok := errors.AsType[*usageError](err); ok {
		return 2
	}
	if not, ok := errors.AsType[*enroll.NotYetError](err); ok {
		switch not.Obstacle {
		case enroll.Undecided:
			return 3
		case enroll.Refused:
			return 4
		case enroll.Away:
			return 5
		}
	}
	return 1
}

// noArgs is cobra.NoArgs as a mistake on the command line.
func noArgs(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &usageError{cause: fmt.Errorf("unknown command or argument %q; see `%s --help`", args[0], command.CommandPath())}
}

func newCommand(version string, getenv func(string) (string, bool)) *cobra.Command {
	path := config.DefaultPath
	if value, ok := getenv(configVariable); ok {
		path = value
	}
	root := &cobra.Command{
		Use:   "fleet-agent",
		Short: "Make this device run what its fleet wants",
		Long: `fleet-agent keeps this device's workloads as its fleet wants them.

Without a subcommand it runs as a daemon until SIGTERM or SIGINT; workloads go
on running without it, and it finds them again when it starts. It starts them
from disk when there is no network.`,
		Example: `  # Get an identity, once
  fleet-agent enroll --server tls://broker.example:4222 --token-file token

  # Run with /etc/fleet-agent/config.toml
  fleet-agent

  # Check a configuration without running
  fleet-agent check --config ./config.toml

  # What does this device run, and if something is wrong, what is it?
  fleet-agent status
  fleet-agent doctor`,
		Version:       version,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(command *cobra.Command, _ []string) error {
			return runDaemon(command.Context(), path, version, getenv, command.ErrOrStderr())
		},
	}
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return &usageError{cause: fmt.Errorf("%w; see `%s --help`", err, command.CommandPath())}
	})
	root.PersistentFlags().StringVarP(&path, "config", "c", path, "configuration file, in TOML; also "+configVariable)
	root.AddCommand(
		&cobra.Command{
			Use:   "run",
			Short: "Run as a daemon; the same as no subcommand",
			Args:  noArgs,
			RunE:  root.RunE,
		},
		&cobra.Command{
			Use:   "check",
			Short: "Check the configuration and exit",
			Args:  noArgs,
			RunE: func(command *cobra.Command, _ []string) error {
				loaded, err := config.Load(path)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(command.OutOrStdout(), "%s is valid for device %s\n", path, loaded.Device)
				return err
			},
		},
		newEnrollCommand(&path),
		newStatusCommand(&path),
		newDoctorCommand(&path),
		&cobra.Command{
			Use:   "purge",
			Short: "Stop and remove every workload of this agent, and forget the desired state",
			Long: `purge stops and removes every workload that this agent started, and forgets the
desired state and the last report. Stop the daemon first. When the daemon is
started again and its fleet can be reached, it gets its desired state anew.`,
			Args: noArgs,
			RunE: func(command *cobra.Command, _ []string) error {
				return purge(command.Context(), path, command.OutOrStdout(), command.ErrOrStderr())
			},
		},
		&cobra.Command{
			Use:   "version",
			Short: "Print the version",
			Args:  noArgs,
			RunE: func(command *cobra.Command, _ []string) error {
				_, err := fmt.Fprintln(command.OutOrStdout(), version)
				return err
			},
		},
	)
	return root
}

// newLogger writes text or JSON lines; systemd's journal adds its own time.
func newLogger(w io.Writer, options config.Log) *slog.Logger {
	handler := &slog.HandlerOptions{Level: options.Level}
	if options.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, handler))
	}
	return slog.New(slog.NewTextHandler(w, handler))
}
