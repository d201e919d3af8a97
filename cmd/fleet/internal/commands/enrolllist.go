package commands

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/selector"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// enrollmentView is an enrollment in -o json; no token is stored anywhere.
type enrollmentView struct {
	Device contracts.DeviceID        `json:"device"`
	State  contracts.EnrollmentState `json:"state"`
	// Expired tokens are of no use any more.
	Expired   bool             `json:"expired,omitempty"`
	Labels    contracts.Labels `json:"labels,omitempty"`
	CreatedAt time.Time        `json:"createdAt"`
	ExpiresAt time.Time        `json:"expiresAt"`
	// Key is the fingerprint of the key that the device showed.
	Key          string    `json:"key,omitempty"`
	KeyExpiresAt time.Time `json:"keyExpiresAt,omitzero"`
	Reason       string    `json:"reason,omitempty"`
}

func viewEnrollment(intent domain.EnrollmentIntent, now time.Time) enrollmentView {
	return enrollmentView{
		Device: intent.Device, State: intent.State, Labels: intent.Labels,
		Expired:   intent.State != contracts.EnrollmentDone && !now.Before(intent.ExpiresAt),
		CreatedAt: intent.CreatedAt, ExpiresAt: intent.ExpiresAt,
		Key: enrollment.Fingerprint(intent.PublicKey), KeyExpiresAt: intent.KeyExpiresAt, Reason: intent.Reason,
	}
}

func (v enrollmentView) row(now time.Time, wide bool) []string {
	state, expires := string(v.State), "in "+show.Age(v.ExpiresAt.Sub(now))
	switch {
	case v.State == contracts.EnrollmentDone:
		expires = "-"
	case v.Expired:
		state, expires = state+" (expired)", show.Age(now.Sub(v.ExpiresAt))+" ago"
	}
	row := []string{string(v.Device), state, show.Age(now.Sub(v.CreatedAt)), expires, orDash(v.Key), orDash(v.Reason)}
	if wide {
		keyExpires := "-"
		if !v.KeyExpiresAt.IsZero() {
			keyExpires = v.KeyExpiresAt.UTC().Format(time.RFC3339)
		}
		row = append(row, keyExpires, orDash(strings.Join(selector.FormatLabels(v.Labels), ",")))
	}
	return row
}

func newEnrollListCommand(app *cli.App) *cobra.Command {
	var output, state string
	command := &cobra.Command{
		Use:   "list",
		Short: "Show which devices are invited, wait, are refused, or have their identity",
		Long: `list shows all enrollments. Pending: the device has not asked yet. Review: it
waits for a person. Approved: it may collect its credential. Denied: a person
said no. Done: it has its credential. KEY is the fingerprint of the key that the
device showed; "fleet-agent enroll" prints it as well.`,
		Example: `  fleet enroll list
  fleet enroll list --state Review -o wide`,
		Args: cli.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			format := show.Format(output)
			formats := []show.Format{show.FormatTable, show.FormatWide, show.FormatJSON, show.FormatYAML, show.FormatName}
			if !slices.Contains(formats, format) {
				return cli.Usagef("--output %q is unknown: use wide, json, yaml or name", output)
			}
			if state != "" {
				if err := contracts.EnrollmentState(state).Validate(); err != nil {
					return cli.Usagef("--state: %w", err)
				}
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				intents, err := session.Enrollments.List(ctx)
				if err != nil {
					return err
				}
				now := time.Now()
				var views []enrollmentView
				for _, intent := range intents {
					if state == "" || string(intent.State) == state {
						views = append(views, viewEnrollment(intent, now))
					}
				}
				return writeEnrollments(command.OutOrStdout(), format, views, now)
			})
		},
	}
	command.Flags().StringVarP(&output, "output", "o", "", "wide, json, yaml or name")
	command.Flags().StringVar(&state, "state", "", "only those in this state")
	return command
}

func writeEnrollments(out io.Writer, format show.Format, views []enrollmentView, now time.Time) error {
	switch format {
	case show.FormatJSON, show.FormatYAML:
		return show.Write(out, format, show.NewList(views))
	case show.FormatName:
		for _, view := range views {
			if _, err := fmt.Fprintf(out, "device/%s\n", view.Device); err != nil {
				return err
			}
		}
		return nil
	case show.FormatTable, show.FormatWide:
	}
	header := []string{"DEVICE", "STATE", "AGE", "EXPIRES", "KEY", "REASON"}
	if format == show.FormatWide {
		header = append(header, "KEY-EXPIRES", "LABELS")
	}
	rows := make([][]string, len(views))
	for i, view := range views {
		rows[i] = view.row(now, format == show.FormatWide)
	}
	return show.NewTable(out, header...).Write(rows...)
}
