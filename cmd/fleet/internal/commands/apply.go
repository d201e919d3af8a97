package commands

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/manifest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func newApplyCommand(app *cli.App) *cobra.Command {
	var files []string
	var dryRun bool
	command := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Create or change deployments from manifests",
		Long: `apply reads manifests, in YAML or JSON, and stores the deployments that they
declare. A directory stands for its .yaml, .yml and .json files, "-" for the
standard input. A file may hold several documents, separated by "---".

All manifests are checked before anything is stored: if one is wrong, nothing
is applied. For each deployment it prints whether it was created, configured
(changed) or unchanged. It does not wait for devices; see "fleet rollout status".`,
		Example: `  # One file
  fleet apply -f examples/hello.yaml

  # A directory and the standard input; only say what would change
  generate | fleet apply -f deployments/ -f - --dry-run`,
		Args: cli.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if len(files) == 0 {
				return cli.Usagef("which manifests? name a file or a directory with -f, or -f - for the standard input")
			}
			documents, err := manifest.Load(files, command.InOrStdin())
			if err != nil {
				return err
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				return apply(ctx, session.Deployments, documents, dryRun, command.OutOrStdout())
			})
		},
	}
	command.Flags().StringArrayVarP(&files, "filename", "f", nil, "file, directory, or - for the standard input; may be repeated")
	command.Flags().BoolVar(&dryRun, "dry-run", false, "check the manifests and say what would change, but store nothing")
	return command
}

// apply tries all documents without storing, so that one that cannot be applied
// is found before the first is stored.
func apply(ctx context.Context, store domain.DeploymentStore, documents []manifest.Document, dryRun bool, out io.Writer) error {
	var refused manifest.Mistakes
	outcomes := make([]domain.ApplyOutcome, len(documents))
	for i, document := range documents {
		var err error
		_, outcomes[i], err = domain.ApplyDeployment(ctx, readOnly{store}, document.Deployment)
		switch {
		case errors.Is(err, domain.ErrConflict), errors.Is(err, domain.ErrInvalid):
			refused = append(refused, fmt.Errorf("%s:%d: %w", document.File, document.Line, err))
		case err != nil:
			return fmt.Errorf("%w; nothing was applied", err)
		}
	}
	if len(refused) > 0 {
		return refused
	}
	for i, document := range documents {
		note := " (dry run)"
		if !dryRun {
			note = ""
			var err error
			if _, outcomes[i], err = domain.ApplyDeployment(ctx, store, document.Deployment); err != nil {
				return fmt.Errorf("%s:%d: %w; what is printed above was applied, the rest was not: apply again", document.File, document.Line, err)
			}
		}
		if _, err := fmt.Fprintf(out, "deployment/%s %s%s\n", document.Deployment.Name, outcomes[i], note); err != nil {
			return err
		}
	}
	return nil
}

// readOnly is a store that only says what writing would do.
type readOnly struct{ domain.DeploymentStore }

// Create implements domain.DeploymentStore.
func (readOnly) Create(_ context.Context, deployment domain.FleetDeployment) (domain.FleetDeployment, error) {
	return deployment, nil
}

// Update implements domain.DeploymentStore.
func (readOnly) Update(_ context.Context, deployment domain.FleetDeployment) (domain.FleetDeployment, error) {
	return deployment, nil
}

// Delete implements domain.DeploymentStore.
func (readOnly) Delete(context.Context, contracts.DeploymentName, domain.Revision) error { return nil }
