package commands

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
)

func newContextCommand(app *cli.App) *cobra.Command {
	command := &cobra.Command{
		Use:   "context",
		Short: "Named fleets: list, choose, show",
		Long: `A context is a named way to reach a fleet: a file
~/.config/harmony-fleet/contexts/NAME.json with

  server             URL of the broker, or several separated by commas
  nkeyFile           file with an nkey seed, or
  user, passwordFile a user, and a file with its password, or
  accessTokenFile    file with an access token of the identity provider
  caFile             certificate authorities to trust, in PEM
  heartbeatInterval  that of the fleet's operator, if not 30s

It is chosen by --context, by FLEET_CONTEXT, or for good by "fleet context use".
"fleet dev" makes one named dev while it runs.`,
		Example: `  fleet context list
  fleet context use production
  fleet --context dev get devices`,
	}
	command.AddCommand(newContextListCommand(app), newContextUseCommand(app), newContextShowCommand(app))
	return command
}

func newContextListCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the contexts; * marks the current one",
		Example: `  fleet context list`,
		Args:    cli.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			store, err := app.Contexts()
			if err != nil {
				return err
			}
			names, err := store.List()
			if err != nil {
				return err
			}
			current, err := store.Current()
			if err != nil {
				return err
			}
			rows := make([][]string, len(names))
			for i, name := range names {
				mark := ""
				if name == current {
					mark = "*"
				}
				server := ""
				c, err := store.Load(name)
				if server = c.Server; err != nil {
					server = "(" + err.Error() + ")"
				}
				rows[i] = []string{mark, name, server}
			}
			return show.NewTable(command.OutOrStdout(), "CURRENT", "NAME", "SERVER").Write(rows...)
		},
	}
}

func newContextUseCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:               "use NAME",
		Short:             "Choose the context to use when none is named",
		Example:           `  fleet context use production`,
		Args:              cli.ExactlyOne("context"),
		ValidArgsFunction: completeContexts(app),
		RunE: func(command *cobra.Command, args []string) error {
			store, err := app.Contexts()
			if err != nil {
				return err
			}
			if err := store.Use(args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "now using context %q\n", args[0])
			return err
		},
	}
}

func newContextShowCommand(app *cli.App) *cobra.Command {
	var format string
	command := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show a context, by default the current one",
		Example: `  fleet context show
  fleet context show production -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeContexts(app),
		RunE: func(command *cobra.Command, args []string) error {
			if !slices.Contains([]show.Format{show.FormatYAML, show.FormatJSON}, show.Format(format)) {
				return cli.Usagef("-o %s is unknown: use json or yaml", format)
			}
			store, err := app.Contexts()
			if err != nil {
				return err
			}
			var name string
			if len(args) > 0 {
				name = args[0]
			} else if name, err = store.Current(); err != nil {
				return err
			}
			if name == "" {
				return errors.New("no context is in use: choose one with `fleet context use NAME`")
			}
			c, err := store.Load(name)
			if err != nil {
				return err
			}
			return show.Write(command.OutOrStdout(), show.Format(format), c)
		},
	}
	command.Flags().StringVarP(&format, "output", "o", "yaml", "yaml or json")
	completeWords(command, "output", "json", "yaml")
	return command
}

func completeContexts(app *cli.App) completer {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		store, err := app.Contexts()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, _ := store.List() // nothing to complete then
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
