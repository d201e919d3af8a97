package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// revision is one generation of a deployment in -o json and -o yaml.
type revision struct {
	Generation  uint64                   `json:"generation"`
	UpdatedAt   time.Time                `json:"updatedAt"`
	ChangeCause string                   `json:"changeCause,omitempty"`
	Spec        contracts.DeploymentSpec `json:"spec"`
}

func newRolloutHistoryCommand(app *cli.App) *cobra.Command {
	var format string
	var generation uint64
	command := &cobra.Command{
		Use:   "history NAME",
		Short: "List the generations of a deployment",
		Long: `history lists the kept generations of a deployment, the current one last. The
change cause is the annotation fleet.nationtech.io/change-cause of the manifest.

-o json and -o yaml print generation, updatedAt, changeCause and spec.`,
		Example: `  fleet rollout history web

  # What was generation 3?
  fleet rollout history web --generation 3 -o yaml`,
		Args:              cli.ExactlyOne("deployment"),
		ValidArgsFunction: completeNames(app, kindDeployment),
		RunE: func(command *cobra.Command, args []string) error {
			name, err := deploymentName(args[0])
			if err != nil {
				return err
			}
			if !slices.Contains([]show.Format{show.FormatTable, show.FormatJSON, show.FormatYAML}, show.Format(format)) {
				return cli.Usagef("-o %s is unknown: use json or yaml", format)
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				history, err := readHistory(ctx, session.Deployments, contracts.DeploymentName(name))
				if err != nil {
					return err
				}
				if generation != 0 {
					one, err := findGeneration(history, generation)
					if err != nil {
						return err
					}
					history = []domain.FleetDeployment{one}
				}
				return printHistory(command.OutOrStdout(), show.Format(format), history, generation != 0)
			})
		},
	}
	command.Flags().StringVarP(&format, "output", "o", "", "json or yaml")
	command.Flags().Uint64Var(&generation, "generation", 0, "only this generation")
	completeWords(command, "output", "json", "yaml")
	return command
}

func printHistory(out io.Writer, format show.Format, history []domain.FleetDeployment, single bool) error {
	if format != show.FormatTable {
		revisions := make([]revision, len(history))
		for i, d := range history {
			revisions[i] = revision{Generation: d.Generation, UpdatedAt: d.UpdatedAt.UTC(), ChangeCause: d.ChangeCause, Spec: d.Spec}
		}
		if single {
			return show.Write(out, format, revisions[0])
		}
		return show.Write(out, format, show.NewList(revisions))
	}
	rows := make([][]string, len(history))
	for i, d := range history {
		rows[i] = []string{strconv.FormatUint(d.Generation, 10), show.Age(time.Since(d.UpdatedAt)), orDash(d.ChangeCause)}
	}
	return show.NewTable(out, "GENERATION", "AGE", "CHANGE-CAUSE").Write(rows...)
}

func newRolloutUndoCommand(app *cli.App) *cobra.Command {
	var generation uint64
	command := &cobra.Command{
		Use:   "undo NAME",
		Short: "Go back to an earlier generation",
		Long: `undo makes an earlier generation's spec the current one, as a new generation.
Without --to-generation it takes the newest one whose spec differs.`,
		Example: `  fleet rollout undo web
  fleet rollout undo web --to-generation 3`,
		Args:              cli.ExactlyOne("deployment"),
		ValidArgsFunction: completeNames(app, kindDeployment),
		RunE: func(command *cobra.Command, args []string) error {
			name, err := deploymentName(args[0])
			if err != nil {
				return err
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				return undo(ctx, session.Deployments, contracts.DeploymentName(name), generation, command.OutOrStdout())
			})
		},
	}
	command.Flags().Uint64Var(&generation, "to-generation", 0, "the generation to go back to")
	return command
}

func undo(ctx context.Context, store domain.DeploymentStore, name contracts.DeploymentName, generation uint64, out io.Writer) error {
	history, err := readHistory(ctx, store, name)
	if err != nil {
		return err
	}
	current := history[len(history)-1]
	var to domain.FleetDeployment
	if generation != 0 {
		to, err = findGeneration(history, generation)
	} else {
		to, err = previous(history)
	}
	if err != nil {
		return err
	}
	want := domain.FleetDeployment{
		Name: name, Labels: current.Labels, Origin: contracts.OriginCLI, Spec: to.Spec,
		ChangeCause: fmt.Sprintf("rollout undo to generation %d", to.Generation),
	}
	stored, outcome, err := domain.ApplyDeployment(ctx, store, want)
	if err != nil {
		return err
	}
	if outcome == domain.OutcomeUnchanged {
		_, err = fmt.Fprintf(out, "deployment/%s unchanged: generation %d has the same spec\n", name, stored.Generation)
		return err
	}
	_, err = fmt.Fprintf(out, "deployment/%s rolled back to generation %d, as generation %d\n", name, to.Generation, stored.Generation)
	return err
}

// readHistory returns at least one generation.
func readHistory(ctx context.Context, store domain.DeploymentStore, name contracts.DeploymentName) ([]domain.FleetDeployment, error) {
	history, err := store.History(ctx, name)
	if errors.Is(err, domain.ErrNotFound) || err == nil && len(history) == 0 {
		return nil, missing(kindDeployment, string(name))
	}
	return history, err
}

func findGeneration(history []domain.FleetDeployment, generation uint64) (domain.FleetDeployment, error) {
	i := slices.IndexFunc(history, func(d domain.FleetDeployment) bool { return d.Generation == generation })
	if i < 0 {
		name := history[0].Name
		return domain.FleetDeployment{}, fmt.Errorf("deployment %q has no generation %d: see `fleet rollout history %s`", name, generation, name)
	}
	return history[i], nil
}

// previous returns the newest generation whose spec differs from the current one.
func previous(history []domain.FleetDeployment) (domain.FleetDeployment, error) {
	current := history[len(history)-1]
	for _, d := range slices.Backward(history) {
		if !reflect.DeepEqual(d.Spec, current.Spec) {
			return d, nil
		}
	}
	return domain.FleetDeployment{}, fmt.Errorf("deployment %q has no earlier generation with another spec", current.Name)
}
