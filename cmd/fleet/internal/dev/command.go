package dev

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/contexts"
)

// defaultPort is where NATS listens by convention.
const defaultPort = 4222

// NewCommand returns `fleet dev`.
func NewCommand(store func() (*contexts.Store, error), usage func(error) error) *cobra.Command {
	var o Options
	command := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole fleet on this machine",
		Long: `dev runs a real fleet on this machine until Ctrl-C: a NATS server with file
storage inside this process, fleet-operator, and any number of fleet-agent
processes, each with a folder, a key and a configuration of its own. The broker
listens on the loopback interface; with --host it listens on another address
instead, where real devices reach it. It has no TLS: do this only on a network
that you trust.

With --auth devices have real identities: each enrolls with a one-time token at
fleet-dev-identity, which runs here, too, and the broker asks fleet-operator whom
to admit. So "fleet enroll" and "fleet device revoke" work. Without --auth the
broker knows each device by a key.

Without --dir everything lies in a temporary directory that is removed at the
end. With --dir the fleet is kept, and started again from there.

While it runs, the CLI's context "dev" leads to it.`,
		Example: `  # Ten devices on three sites
  fleet dev

  # Two devices, kept in ./fleet, on any free port
  fleet dev --devices 2 --sites paris --dir ./fleet --port 0

  # Three devices that enroll, to try "fleet device revoke paris-01"
  fleet dev --auth --devices 3

  # The broker alone, with configurations to start the other programs by hand
  fleet dev --devices 1 --dir ./fleet --no-operator --no-agents

  # A broker and an operator for a real device, such as a Raspberry Pi on this
  # desk, from the configuration and the key in ./fleet/devices/paris-01
  fleet dev --devices 1 --dir ./fleet --no-agents --host 192.168.1.10`,
		Args: func(command *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(fmt.Errorf("unknown argument %q; see `%s --help`", args[0], command.CommandPath()))
			}
			return nil
		},
		RunE: func(command *cobra.Command, _ []string) error {
			if o.Devices < 0 || o.Devices > 1000 {
				return usage(fmt.Errorf("--devices: %d is out of range, must be from 0 to 1000", o.Devices))
			}
			if ip, err := netip.ParseAddr(o.Host); err != nil || ip.IsUnspecified() {
				return usage(fmt.Errorf("--host: %q is not an IP address of this machine", o.Host))
			}
			if o.Port < 0 || o.Port > 65535 {
				return usage(fmt.Errorf("--port: %d is out of range, must be from 0 to 65535", o.Port))
			}
			if _, err := members(o.Devices, o.Sites); err != nil {
				return usage(fmt.Errorf("--sites: %w", err))
			}
			if o.Heartbeat < time.Second || o.Heartbeat > time.Hour {
				return usage(fmt.Errorf("--heartbeat-interval: %s is out of range, must be from 1s to 1h", o.Heartbeat))
			}
			if o.Auth && o.Host != defaultHost {
				return usage(fmt.Errorf("--auth and --host %s: the identity provider is for this machine alone, so leave --host out", o.Host))
			}
			if o.Auth && o.NoOperator {
				return usage(errors.New("--auth and --no-operator: the operator signs the tokens that devices enroll with, so leave one of them out"))
			}
			var err error
			if o.Contexts, err = store(); err != nil {
				return err
			}
			return Run(command.Context(), o, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.IntVar(&o.Devices, "devices", 10, "number of devices")
	flags.StringSliceVar(&o.Sites, "sites", []string{"paris", "lyon", "nice"}, "values of the label site, given to the devices in turn")
	flags.StringVar(&o.Dir, "dir", "", "directory to keep the fleet in (default: a temporary one)")
	flags.StringVar(&o.Host, "host", defaultHost, "address that the broker listens on")
	flags.IntVar(&o.Port, "port", defaultPort, "port of the broker; 0 for any free one")
	flags.DurationVar(&o.Heartbeat, "heartbeat-interval", 5*time.Second, "mean time between the heartbeats of a device")
	flags.BoolVar(&o.Auth, "auth", false, "give devices real identities: they enroll, and can be revoked")
	flags.StringVar(&o.Operator, "fleet-operator", "", "path of fleet-operator (default: beside this program, or in PATH)")
	flags.StringVar(&o.Agent, "fleet-agent", "", "path of fleet-agent (default: beside this program, or in PATH)")
	flags.StringVar(&o.Identity, "fleet-dev-identity", "", "path of fleet-dev-identity, for --auth (default: beside this program, or in PATH)")
	flags.BoolVar(&o.NoOperator, "no-operator", false, "do not start the operator")
	flags.BoolVar(&o.NoAgents, "no-agents", false, "do not start the agents")
	flags.BoolVar(&o.Containers, "containers", false, "let the agents run containers on this machine's Podman or Docker")
	return command
}
