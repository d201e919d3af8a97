package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// Code is an exit code of a command that has its own, as an error. Err says
// what went wrong; nil when there is nothing to say.
type Code struct {
	Code int
	Err  error
}

// Error is Err's text.
func (c *Code) Error() string {
	if c.Err == nil {
		return fmt.Sprintf("exit code %d", c.Code)
	}
	return c.Err.Error()
}

// Unwrap returns Err.
func (c *Code) Unwrap() error { return c.Err }

// usageError is a mistake on the command line.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

// Usage marks an error as a mistake on the command line: exit code 2.
func Usage(err error) error { return &usageError{cause: err} }

// Usagef is Usage of a new error.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Execute runs a command with the given arguments and returns the exit code: 0
// done, 1 failed, 2 mistake on the command line, 130 interrupted, or a Code.
func Execute(ctx context.Context, root *cobra.Command, args []string, stderr io.Writer) int {
	prepare(root)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if own, ok := errors.AsType[*Code](err); ok {
		if own.Err != nil {
			_, _ = fmt.Fprintln(stderr, "Error: "+own.Error())
		}
		return own.Code
	}
	if ctx.Err() != nil {
		_, _ = fmt.Fprintln(stderr, "interrupted")
		return exitInterrupted
	}
	_, _ = fmt.Fprintln(stderr, "Error: "+err.Error())
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// prepare makes cobra's own complaints look like all others.
func prepare(root *cobra.Command) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		// A flag that is not known because the command is misspelt.
		if before := command.Flags().Args(); command.HasSubCommands() && len(before) > 0 {
			return group(command, before)
		}
		return seeHelp(command, err)
	})
	walkCommands(root, func(command *cobra.Command) {
		command.DisableFlagsInUseLine, command.SuggestionsMinimumDistance = true, 2
		if command.HasSubCommands() {
			command.Args, command.RunE = cobra.ArbitraryArgs, group
			return
		}
		check := command.Args
		if check == nil {
			return
		}
		command.Args = func(command *cobra.Command, args []string) error {
			if err := check(command, args); err != nil {
				return seeHelp(command, err)
			}
			return nil
		}
	})
}

func walkCommands(command *cobra.Command, visit func(*cobra.Command)) {
	visit(command)
	for _, sub := range command.Commands() {
		walkCommands(sub, visit)
	}
}

func seeHelp(command *cobra.Command, err error) error {
	if _, ok := errors.AsType[*usageError](err); ok {
		return err
	}
	return Usagef("%w; see `%s --help`", err, command.CommandPath())
}

// group is what a command that only holds others does when it is called.
func group(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		if !command.HasParent() {
			return command.Help()
		}
		return Usagef("which one? `%s` needs one of: %s", command.CommandPath(), strings.Join(names(command), ", "))
	}
	if near := command.SuggestionsFor(args[0]); len(near) > 0 {
		return Usagef("`%s` has no command %q; did you mean %s?", command.CommandPath(), args[0], strings.Join(near, " or "))
	}
	return Usagef("`%s` has no command %q; it has: %s", command.CommandPath(), args[0], strings.Join(names(command), ", "))
}

func names(command *cobra.Command) []string {
	var all []string
	for _, sub := range command.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, sub.Name())
		}
	}
	slices.Sort(all)
	return all
}

// NoArgs accepts no argument.
func NoArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// AtLeastOne accepts one argument or more; what says of which kind.
func AtLeastOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("name at least one %s", what)
		}
		return nil
	}
}

// ExactlyOne accepts one argument; what says of which kind.
func ExactlyOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("name one %s, not %d", what, len(args))
		}
		return nil
	}
}
