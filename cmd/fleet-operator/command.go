package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/keys"
	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/settings"
	"github.com/nationtech/harmony-fleet/contracts"
)

// envPrefix begins the names of the environment variables that set flags.
const envPrefix = "FLEET_OPERATOR"

// usageError is a mistake on the command line.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

// exitCode is 1 for a failure and 2 for a mistake on the command line.
func exitCode(err error) int {
	if _, ok := errors.AsType[*usageError](err); ok {
		return 2
	}
	return 1
}

// exactly accepts n arguments and takes anything else as a mistake.
func exactly(n int) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return &usageError{cause: fmt.Errorf("%d arguments expected, %d given; see `%s --help`", n, len(args), command.CommandPath())}
	}
}

func newCommand(version string, getenv func(string) (string, bool)) *cobra.Command {
	root := &cobra.Command{
		Use:   "fleet-operator",
		Short: "Turn deployments into the desired state of devices",
		Long: `fleet-operator reads deployments and the registry, composes and signs one
desired state per device, publishes it over NATS JetStream, and says how far
each deployment is. Several may run side by side: one leads, all answer devices
that ask for their desired state.`,
		Version:       version,
		Args:          exactly(0),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return &usageError{cause: fmt.Errorf("%w; see `%s --help`", err, command.CommandPath())}
	})
	root.AddCommand(newRunCommand(version, getenv), newCalloutCommand(version, getenv), newKeygenCommand(), newPubkeyCommand(), newManifestsCommand(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactly(0),
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(command.OutOrStdout(), version)
			return err
		},
	})
	return root
}

func newRunCommand(version string, getenv func(string) (string, bool)) *cobra.Command {
	var options options
	command := newDaemonCommand(&cobra.Command{
		Use:   "run",
		Short: "Run as a daemon",
		Long: `run works until SIGTERM or SIGINT.

` + settingsHelp,
		Example: `  # A local broker
  fleet-operator keygen ./signing.pem
  fleet-operator run --server nats://127.0.0.1:4222 --nkey-file ./operator.nk --signing-key-file ./signing.pem

  # In a pod: the fleet as resources of the pod's own namespace
  fleet-operator run --kubernetes --server nats://nats:4222 --nkey-file /etc/fleet/operator.nk --signing-key-file /etc/fleet/signing.pem

  # The same from outside of the cluster
  fleet-operator run --kubernetes=$HOME/.kube/config --namespace fleet --nkey-file ./operator.nk --signing-key-file ./signing.pem

  # The same as the first from a file
  fleet-operator run --config /etc/fleet-operator/config.yaml`,
	}, getenv, options.register, options.check, func(command *cobra.Command) error {
		return run(command.Context(), options, version, command.ErrOrStderr())
	})
	command.Args = options.kubernetes.arguments
	return command
}

const settingsHelp = `Every flag can also be set by an environment variable, FLEET_OPERATOR_ and the
flag's name in capitals with '_' for '-', or by a key of its name in the YAML
file that --config names. The command line wins over the environment, and the
environment over the file.`

// newDaemonCommand completes a command whose flags come from the command line,
// the environment or a file.
func newDaemonCommand(command *cobra.Command, getenv func(string) (string, bool), register func(*pflag.FlagSet), check func() error, work func(*cobra.Command) error) *cobra.Command {
	var file string
	command.Args = exactly(0)
	command.RunE = func(command *cobra.Command, _ []string) error {
		if !command.Flags().Changed("config") {
			if path, ok := getenv(settings.EnvName(envPrefix, "config")); ok {
				file = path
			}
		}
		if err := settings.Apply(command.Flags(), envPrefix, getenv, file); err != nil {
			return err
		}
		if err := check(); err != nil {
			return err
		}
		return work(command)
	}
	command.Flags().StringVar(&file, "config", "", "YAML file whose keys are the names of these flags")
	register(command.Flags())
	return command
}

func newCalloutCommand(version string, getenv func(string) (string, bool)) *cobra.Command {
	var options calloutOptions
	return newDaemonCommand(&cobra.Command{
		Use:   "callout",
		Short: "Admit clients to the broker, enroll devices, and keep revoked ones out",
		Long: `callout decides who may connect to the broker, by tokens of Zitadel and by
enrollment tokens; disconnects devices that are revoked; gives invited devices
their identity; has the keys of devices renewed before they expire; and answers
devices that ask for their desired state. Nobody can connect while none runs:
run two or more side by side.

It knows the fleet's public signing keys only. What it cannot do without Zitadel
is to enroll, revoke and restore; devices whose tokens are valid get in.

` + settingsHelp,
		Example: `  fleet-operator callout --config /etc/fleet-operator/callout.yaml`,
	}, getenv, options.register, options.check, func(command *cobra.Command) error {
		return runCallout(command.Context(), options, version, command.ErrOrStderr())
	})
}

func newKeygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a signing key for a new fleet",
		Long: `keygen makes an Ed25519 key, writes it to FILE with mode 0600, and prints the
public key, which belongs into signing_keys of each agent's configuration. An
existing file is never overwritten.`,
		Example: `  fleet-operator keygen /etc/fleet-operator/signing.pem`,
		Args:    exactly(1),
		RunE: func(command *cobra.Command, args []string) error {
			public, err := keys.Generate(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(command.OutOrStdout(), contracts.FormatPublicKey(public))
			return err
		},
	}
}

func newPubkeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "pubkey FILE",
		Short:   "Print the public half of a signing key",
		Example: `  fleet-operator pubkey /etc/fleet-operator/signing.pem`,
		Args:    exactly(1),
		RunE: func(command *cobra.Command, args []string) error {
			key, err := keys.Load(args[0])
			if err != nil {
				return err
			}
			public, ok := key.Public().(ed25519.PublicKey)
			if !ok {
				return fmt.Errorf("signing key %s has no public half", args[0])
			}
			_, err = fmt.Fprintln(command.OutOrStdout(), contracts.FormatPublicKey(public))
			return err
		},
	}
}
