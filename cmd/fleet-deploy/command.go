package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet-deploy/internal/site"
)

// usageError is a mistake on the command line or in the file.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

func usagef(format string, args ...any) error {
	return &usageError{cause: fmt.Errorf(format, args...)}
}

// errSaid is a failure that was told already.
var errSaid = errors.New("it did not succeed everywhere")

// exitCode is 0 for done, 1 for a failure and 2 for a mistake in what was asked.
func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSaid):
		return 1
	}
	fmt.Fprintln(stderr, "Error: "+err.Error())
	if _, ok := errors.AsType[*usageError](err); ok {
		return 2
	}
	return 1
}

const long = `fleet-deploy brings up the parts of a fleet that a YAML file describes, or
values that are given with --set.

It looks at the real things first and shows what it would change. It changes
only what differs, so a second run changes nothing and one that was interrupted
goes on where it stopped. It is done only when a smoke test has passed.

Exit codes: 0 done, 1 failed, 2 a mistake in the command line or the file.`

func newCommand(version string, getenv func(string) (string, bool)) *cobra.Command {
	o := &options{getenv: getenv}
	root := &cobra.Command{
		Use:   "fleet-deploy",
		Short: "Bring up the parts of a fleet",
		Long:  long,
		Example: `  # What would change?
  fleet-deploy plan -f site.yaml

  # Make it so, after a look at the plan
  fleet-deploy apply -f site.yaml

  # One host alone, without a question, for a pipeline
  fleet-deploy apply -f site.yaml --only pi-042 --yes -o json

  # Does it work?
  fleet-deploy smoke -f site.yaml

  # Without a file: one agent on a host
  fleet-deploy apply --set agents.packages=[fleet-agent_0.1.0_arm64.deb] \
    --set agents.servers=[tls://broker.example:4222] --set agents.signingKeys=[ed25519:…] \
    --set agents.hosts[0].device=pi-042 --set agents.hosts[0].address=10.0.0.42 \
    --set agents.hosts[0].nkeyFile=pi-042.nk --set agents.ssh.user=pi

  # For a site without the Internet
  fleet-deploy bundle -f site.yaml --to site.bundle
  fleet-deploy apply -f site.yaml --bundle site.bundle`,
		Version:       version,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return usagef("%w; see `%s --help`", err, command.CommandPath())
	})
	root.AddCommand(
		o.command("plan", "Show what apply would change, and change nothing", (*operation).plan),
		o.command("apply", "Make everything as the file says, and prove it", (*operation).apply),
		o.command("smoke", "Prove that everything works, and change nothing", (*operation).smoke),
		o.command("destroy", "Remove what apply made", (*operation).destroy),
		o.bundleCommand(),
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

// noArgs is cobra.NoArgs as a mistake on the command line.
func noArgs(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("unknown command or argument %q; see `%s --help`", args[0], command.CommandPath())
}

// options are the flags.
type options struct {
	getenv   func(string) (string, bool)
	file     string
	only     []string
	output   string
	yes      bool
	parallel int
	details  bool
	set      []string
	bundle   string
}

// read reads the site that the flags describe.
func (o *options) read(command *cobra.Command) (*site.Site, error) {
	path := o.file
	if len(o.set) > 0 && !command.Flags().Changed("file") {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			path = "" // the flags are all of it
		}
	}
	described, err := site.Read(site.Source{Path: path, Stdin: command.InOrStdin(), Set: o.set})
	if err != nil {
		return nil, &usageError{cause: err}
	}
	return described, nil
}

// describe adds the flags that describe the site.
func (o *options) describe(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVarP(&o.file, "file", "f", "site.yaml", "the YAML file that describes the site; - for standard input")
	flags.StringArrayVar(&o.set, "set", nil, "path=value to put into the file, or instead of one; the value is YAML")
	flags.StringSliceVar(&o.only, "only", nil, "names of the targets to handle, by default all")
	flags.StringVarP(&o.output, "output", "o", "text", "text or json")
	o.complete(command, "set", func(begun string) ([]string, cobra.ShellCompDirective) {
		return site.Complete(begun), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	})
	o.complete(command, "output", func(string) ([]string, cobra.ShellCompDirective) {
		return []string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp
	})
	o.complete(command, "file", func(string) ([]string, cobra.ShellCompDirective) {
		return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	})
}

func (o *options) complete(command *cobra.Command, flag string, do func(begun string) ([]string, cobra.ShellCompDirective)) {
	_ = command.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return do(begun)
	})
}

// check refuses flags that say nothing.
func (o *options) check() error {
	if o.output != "text" && o.output != "json" {
		return usagef("--output %q is unknown: use text or json", o.output)
	}
	return nil
}

func (o *options) command(use, short string, do func(*operation, context.Context) error) *cobra.Command {
	command := &cobra.Command{
		Use:   use,
		Short: short,
		Example: fmt.Sprintf(`  fleet-deploy %[1]s -f site.yaml
  fleet-deploy %[1]s -f site.yaml --only pi-042`, use),
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if o.parallel < 1 {
				return usagef("--parallel must be at least 1")
			}
			op, err := o.open(command)
			if err != nil {
				return err
			}
			return errors.Join(do(op, command.Context()), op.close())
		},
	}
	o.describe(command)
	flags := command.Flags()
	flags.StringVar(&o.bundle, "bundle", "", "take charts and images from this file, which fleet-deploy bundle made")
	flags.IntVar(&o.parallel, "parallel", 10, "how many targets are handled at once")
	switch use {
	case "apply", "destroy":
		flags.BoolVar(&o.yes, "yes", false, "do not ask")
	case "plan":
		flags.BoolVar(&o.details, "details", false, "show what differs exactly")
	}
	return command
}
