package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// createOptions are the flags of `fleet enroll create`.
type createOptions struct {
	labels          []string
	ttl             time.Duration
	approve, manual bool
	replace         bool
	output          string
	tokenFile       string
	csv, results    string
}

func newEnrollCreateCommand(app *cli.App) *cobra.Command {
	var o createOptions
	command := &cobra.Command{
		Use:   "create (DEVICE | --from-csv FILE --results FILE)",
		Short: "Invite devices",
		Long: `create expects a device and prints a one-time token for it. Whoever holds the
token can become that device, once, until it expires: hand it over as a password.

The device is approved beforehand. With --manual it waits until the policy of the
fleet's enrollment service or a person has decided, see "fleet enroll approve".

A device that was enrolled before and lost its key is invited again with
--replace: its old key stops working when the new one starts.

With --from-csv many devices are invited at once. The first line of the file
names its columns: "device", and a label key for each other. Tokens are written
to the file of --results, which its owner alone can read. When it is interrupted,
the same command goes on where it ended.`,
		Example: `  fleet enroll create pi-042 -l site=paris -l rack=7
  # Into a file instead of onto the screen, for two hours
  fleet enroll create pi-042 --ttl 2h --token-file ./pi-042.token
  # The device lost its disk
  fleet enroll create pi-042 --replace
  # A thousand devices
  printf 'device,site\npi-001,paris\npi-002,lyon\n' > devices.csv
  fleet enroll create --from-csv devices.csv --results tokens.csv`,
		RunE: func(command *cobra.Command, args []string) error {
			labels, err := o.check(args)
			if err != nil {
				return err
			}
			if o.csv != "" {
				return createMany(app, command, o, labels)
			}
			devices, err := parseDevices(args)
			if err != nil {
				return err
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				ticket, err := invite(ctx, session, o.invitation(devices[0], labels), o.replace)
				if err != nil {
					return err
				}
				return o.print(ticket, session, command.OutOrStdout())
			})
		},
	}
	flags := command.Flags()
	flags.StringArrayVarP(&o.labels, "label", "l", nil, "label of the device, as KEY=VALUE; may be repeated")
	flags.DurationVar(&o.ttl, "ttl", 24*time.Hour, "how long the token is of use, 1m to 720h")
	flags.BoolVar(&o.approve, "approve", false, "approve the device beforehand; the default")
	flags.BoolVar(&o.manual, "manual", false, "leave the decision to the policy or a person, once the device has asked")
	flags.BoolVar(&o.replace, "replace", false, "make an earlier token of the device invalid, or enroll it anew")
	flags.StringVarP(&o.output, "output", "o", "", "json or yaml, the token included")
	flags.StringVar(&o.tokenFile, "token-file", "", "write the token to a new file, for its owner alone, instead of printing it")
	flags.StringVar(&o.csv, "from-csv", "", "CSV of devices, - for the standard input")
	flags.StringVar(&o.results, "results", "", "file for the tokens of --from-csv")
	return command
}

// check returns the labels.
func (o createOptions) check(args []string) (contracts.Labels, error) {
	switch {
	case o.csv == "" && len(args) != 1:
		return nil, cli.Usagef("name one device, not %d; many are invited with --from-csv", len(args))
	case o.csv != "" && len(args) > 0:
		return nil, cli.Usagef("devices come from --from-csv or the command line, not from both")
	case (o.csv == "") != (o.results == ""):
		return nil, cli.Usagef("--from-csv and --results: set both or none")
	case o.csv != "" && (o.output != "" || o.tokenFile != ""):
		return nil, cli.Usagef("--output and --token-file are for one device; the tokens of --from-csv go to --results")
	case o.approve && o.manual:
		return nil, cli.Usagef("--approve and --manual: choose one of them")
	case o.output != "" && o.output != string(show.FormatJSON) && o.output != string(show.FormatYAML):
		return nil, cli.Usagef("--output %q is unknown: use json or yaml", o.output)
	case o.ttl < time.Minute || o.ttl > enrollment.MaxTokenLifetime:
		return nil, cli.Usagef("--ttl: %s is out of range, must be from 1m to %s", o.ttl, enrollment.MaxTokenLifetime)
	}
	labels := contracts.Labels{}
	for _, text := range o.labels {
		for pair := range strings.SplitSeq(text, ",") {
			key, value, ok := strings.Cut(pair, "=")
			if _, twice := labels[key]; !ok || twice {
				return nil, cli.Usagef("label %q must be KEY=VALUE, each key once", pair)
			}
			labels[key] = value
		}
	}
	if err := contracts.CheckPeoplesLabels(labels); err != nil {
		return nil, cli.Usage(err)
	}
	return labels, nil
}

func (o createOptions) invitation(device contracts.DeviceID, labels contracts.Labels) enrollment.Invitation {
	return enrollment.Invitation{Device: device, Labels: labels, Lifetime: o.ttl, Manual: o.manual}
}

// invite makes one token and stores its intent.
func invite(ctx context.Context, session cli.Session, invitation enrollment.Invitation, replace bool) (enrollment.Ticket, error) {
	ticket, err := enrollment.Prepare(ctx, session.Tokens, invitation)
	if err != nil {
		return enrollment.Ticket{}, err
	}
	return ticket, storeTicket(ctx, session, ticket, replace)
}

func storeTicket(ctx context.Context, session cli.Session, ticket enrollment.Ticket, replace bool) error {
	changed, err := ticket.Store(ctx, session.Enrollments, replace)
	if errors.Is(err, domain.ErrAlreadyExists) {
		return fmt.Errorf("%w: --replace makes a new token, and a new key when the device is enrolled already", err)
	}
	if err != nil || !changed || ticket.Intent.State != contracts.EnrollmentApproved {
		return err
	}
	return audit(ctx, session, contracts.Event{
		Kind: contracts.EventEnrollmentApproved, Device: ticket.Intent.Device, Reason: "Invited",
		Message: "approved beforehand, token valid until " + ticket.Intent.ExpiresAt.Format(time.RFC3339),
	})
}

// ticketView is what `create -o json` prints.
type ticketView struct {
	Device    contracts.DeviceID        `json:"device"`
	State     contracts.EnrollmentState `json:"state"`
	Labels    contracts.Labels          `json:"labels,omitempty"`
	ExpiresAt time.Time                 `json:"expiresAt"`
	Token     string                    `json:"token,omitempty"`
}

func (o createOptions) print(ticket enrollment.Ticket, session cli.Session, out io.Writer) error {
	intent := ticket.Intent
	view := ticketView{Device: intent.Device, State: intent.State, Labels: intent.Labels, ExpiresAt: intent.ExpiresAt, Token: ticket.Token}
	how := "--token " + ticket.Token
	if o.tokenFile != "" {
		if err := writeToken(o.tokenFile, ticket.Token); err != nil {
			return fmt.Errorf("device %q is invited, but its token is lost: %w; make another with --replace", intent.Device, err)
		}
		view.Token, how = "", "--token-file "+o.tokenFile
	}
	if o.output != "" {
		return show.Write(out, show.Format(o.output), view)
	}
	_, err := fmt.Fprintf(out, "device/%s invited until %s\n\nOn the device:\n\n  fleet-agent enroll --server %s %s\n",
		intent.Device, intent.ExpiresAt.Format(time.RFC3339), session.Target.Context.Server, how)
	return err
}

// writeToken never writes into a file that is there already: others might be
// able to read it.
func writeToken(path, token string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(token + "\n")
	return errors.Join(err, file.Close())
}
