package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/enroll"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/inventory"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// enrollOptions are the flags of `fleet-agent enroll`.
type enrollOptions struct {
	token, tokenFile string
	servers          []string
	caFile           string
	noWait           bool
}

func newEnrollCommand(path *string) *cobra.Command {
	var o enrollOptions
	command := &cobra.Command{
		Use:   "enroll",
		Short: "Get this device its identity with a one-time token",
		Long: `enroll makes a key on this device, shows its public half to the fleet together
with a one-time token, and stores what the fleet gives for it. The key never
leaves the device. Then the daemon has to be started anew.

While nobody has approved the device, while it is refused, and while the fleet
cannot be reached, enroll says why and asks again, until the token expires. It
can be interrupted and run again with the same token. With --no-wait it asks
once, and exits with 3 while nobody has decided, with 4 when it is refused, and
with 5 when the fleet cannot be reached or cannot enroll devices now.

Others on this device can see the command line of a running program: prefer
--token-file, or - for the standard input.

A configuration without device, signing_keys and broker is enough for an
enrolled device; what it sets of these goes before what the fleet said.`,
		Example: `  fleet-agent enroll --server tls://broker.example:4222 --token-file /root/token
  # A private certificate authority, and the token from the standard input
  ssh admin@host cat token | fleet-agent enroll --server tls://broker.example:4222 --ca-file ca.pem --token-file -`,
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return runEnroll(command.Context(), *path, command.Flags().Changed("config"), o, command.InOrStdin(), command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringVar(&o.token, "token", "", "the token")
	flags.StringVar(&o.tokenFile, "token-file", "", "file with the token, - for the standard input")
	flags.StringSliceVar(&o.servers, "server", nil, "URLs of the broker, separated by commas (default: broker.servers of the configuration)")
	flags.StringVar(&o.caFile, "ca-file", "", "PEM file of the certificate authority of the broker, which is kept (default: broker.ca_file of the configuration)")
	flags.BoolVar(&o.noWait, "no-wait", false, "fail instead of asking again")
	return command
}

func runEnroll(ctx context.Context, path string, named bool, o enrollOptions, stdin io.Reader, out io.Writer) error {
	read := func() (config.Config, error) { return config.Read(path) }
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !named && path == config.DefaultPath {
		read = func() (config.Config, error) { return config.Parse("") }
	}
	c, err := read()
	if err != nil {
		return err
	}
	if c.Device != "" {
		return fmt.Errorf("%s names this device %s, which leaves nothing to enroll: remove device, signing_keys, broker.nkey_file and broker.user first", path, c.Device)
	}
	token, err := o.readToken(stdin)
	if err != nil {
		return err
	}
	if len(o.servers) > 0 {
		c.Broker.Servers = o.servers
	}
	if len(c.Broker.Servers) == 0 {
		return &usageError{cause: errors.New("which broker? name it with --server, as `fleet enroll create` printed it")}
	}
	c.Broker.CAFile = cmp.Or(o.caFile, c.Broker.CAFile)
	request := enroll.Request{Token: token, Inventory: inventory.Read(c.StateDir, nil), NoWait: o.noWait}
	if c.Broker.CAFile != "" {
		authority, err := os.ReadFile(c.Broker.CAFile)
		if err != nil {
			return fmt.Errorf("certificate authority of the broker: %w", err)
		}
		request.ServerCA = string(authority)
	}
	say := func(text string) { _, _ = fmt.Fprintln(out, text) }
	if (nats.Config{Servers: c.Broker.Servers, CAFile: c.Broker.CAFile}).Exposed() {
		say("warning: the token can be read and used by whoever is on the way to the broker: write the server as tls://HOST:PORT, or name its certificate authority with --ca-file")
	}
	enrolled, err := enroll.Run(ctx, c.Identities(), enroller(c.Broker, token), request, say)
	if err != nil {
		return err
	}
	credential := enrolled.Credential
	_, err = fmt.Fprintf(out, "device %s is enrolled as %s, key %s until %s\nStart the agent: systemctl restart fleet-agent\n",
		enrolled.Device, credential.UserID, credential.KeyID, credential.KeyExpiresAt.Format(time.DateOnly))
	return err
}

// maxTokenText bounds what is read in search of a token.
const maxTokenText = 64 << 10

func (o enrollOptions) readToken(stdin io.Reader) (string, error) {
	if (o.token == "") == (o.tokenFile == "") {
		return "", &usageError{cause: errors.New("which token? name --token-file or --token, and not both; `fleet enroll create` makes one")}
	}
	if o.token != "" {
		return o.token, nil
	}
	if o.tokenFile == "-" {
		data, err := io.ReadAll(io.LimitReader(stdin, maxTokenText))
		return strings.TrimSpace(string(data)), err
	}
	data, err := os.ReadFile(o.tokenFile)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// enroller connects with the rights of a token.
func enroller(broker config.Broker, token string) enroll.Connect {
	return func(ctx context.Context) (domain.Enroller, func(), error) {
		conn, err := nats.Connect(ctx, nats.Config{
			Servers:     broker.Servers,
			Name:        "fleet-agent enroll",
			Credential:  nats.TokenCredential(oneToken(token)),
			CAFile:      broker.CAFile,
			InboxPrefix: contracts.EnrollmentInboxPrefix(token),
			FailFast:    true,
		})
		if err != nil {
			return nil, nil, err
		}
		return nats.NewEnroller(conn), conn.Close, nil
	}
}

// oneToken is a source of always the same token.
type oneToken string

// Token implements nats.TokenSource.
func (t oneToken) Token(context.Context) (domain.Token, error) {
	return domain.Token{Value: string(t)}, nil
}
