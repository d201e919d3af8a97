package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/doctor"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/identity"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/local"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// outputFlag adds -o to a command and refuses what is neither text nor json.
func outputFlag(command *cobra.Command, output *string) {
	command.Flags().StringVarP(output, "output", "o", "text", "text or json")
	command.PreRunE = func(*cobra.Command, []string) error {
		if *output != "text" && *output != "json" {
			return &usageError{cause: fmt.Errorf("--output %q is unknown: use text or json", *output)}
		}
		return nil
	}
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

func newStatusCommand(path *string) *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "status",
		Short: "Show what this device runs and how the agent is",
		Long: `status asks the running agent for its link, its desired state and its
deployments. When the agent does not run, it shows what lies on disk and exits
with 1.`,
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return showStatus(command.Context(), *path, output, command.OutOrStdout())
		},
	}
	outputFlag(command, &output)
	return command
}

func showStatus(ctx context.Context, path, output string, out io.Writer) error {
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	status, asked := local.Ask(ctx, c.StateDir)
	if asked != nil && !errors.Is(asked, local.ErrNotRunning) {
		return fmt.Errorf("%w; run this as the agent's user or root", asked)
	}
	if asked != nil {
		keys, err := c.TrustedKeys()
		if err != nil {
			return err
		}
		status = local.FromDisk(filepath.Join(c.StateDir, desiredDir), agent.Identity{Device: c.Device, TrustedKeys: keys})
		if c.Identity != nil {
			status.Identity = shownIdentity(*c.Identity)
		}
	}
	if output == "json" {
		err = writeJSON(out, status)
	} else {
		err = local.WriteText(out, status, time.Now())
	}
	if asked != nil {
		asked = fmt.Errorf("%w; start it (systemctl start fleet-agent), or ask `fleet-agent doctor`", asked)
	}
	return errors.Join(err, asked)
}

func shownIdentity(who identity.Identity) *local.Identity {
	credential := who.Credential
	return &local.Identity{
		Issuer: credential.Issuer, UserID: credential.UserID, KeyID: credential.KeyID, KeyExpiresAt: credential.KeyExpiresAt,
	}
}

// errUnwell is the end of a doctor that found something to repair.
var errUnwell = errors.New("something needs repair: see the lines that begin with fail")

func newDoctorCommand(path *string) *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Check what the agent needs on this device, and say what to do",
		Long: `doctor checks the clock, the configuration, the credential, the state directory
and its disk, the desired state, the broker (name, port, TLS), the daemon and its
runtimes. It changes nothing, and needs neither the daemon nor the network. It
exits with 1 when a line begins with fail.`,
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			checks := doctor.Examine(command.Context(), *path, doctor.Options{Built: builtAt(), DesiredDir: desiredDir})
			var err error
			if output == "json" {
				err = writeJSON(command.OutOrStdout(), struct {
					Checks []doctor.Check `json:"checks"`
				}{checks})
			} else {
				err = doctor.WriteText(command.OutOrStdout(), checks)
			}
			if err == nil && doctor.Failed(checks) {
				err = errUnwell
			}
			return err
		},
	}
	outputFlag(command, &output)
	return command
}

// builtAt is the time of the commit that this program was built from, zero when
// the build did not say.
func builtAt() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.time" {
			built, _ := time.Parse(time.RFC3339, setting.Value)
			return built
		}
	}
	return time.Time{}
}
