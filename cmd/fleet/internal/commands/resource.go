package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
)

// kind is a kind of thing that commands work on.
type kind string

const (
	kindDevice     kind = "device"
	kindDeployment kind = "deployment"
	kindEvent      kind = "event"
)

// spellings are the words for a kind, the common one first.
func (k kind) spellings() []string {
	switch k {
	case kindDevice:
		return []string{"devices", "device", "dev", "fleetdev", "fleetdevs"}
	case kindDeployment:
		return []string{"deployments", "deployment", "deploy", "dep", "fleetdep", "fleetdeps"}
	default:
		return []string{"events", "event", "ev"}
	}
}

// parseKind reads a word for one of the given kinds.
func parseKind(word string, of ...kind) (kind, error) {
	var known []string
	for _, k := range of {
		if slices.Contains(k.spellings(), strings.ToLower(word)) {
			return k, nil
		}
		known = append(known, k.spellings()[0])
	}
	return "", cli.Usagef("%q is not known here: write %s", word, strings.Join(known, " or "))
}

// parseObjects reads "KIND [NAME…]" or "KIND/NAME…", all of one kind.
func parseObjects(args []string, of ...kind) (kind, []string, error) {
	if !strings.Contains(args[0], "/") {
		k, err := parseKind(args[0], of...)
		return k, args[1:], err
	}
	var found kind
	names := make([]string, len(args))
	for i, arg := range args {
		word, name, ok := strings.Cut(arg, "/")
		if !ok || name == "" {
			return "", nil, cli.Usagef("%q must be KIND/NAME, as the arguments before it", arg)
		}
		k, err := parseKind(word, of...)
		if err != nil {
			return "", nil, err
		}
		if found != "" && k != found {
			return "", nil, cli.Usagef("%q is another kind than the arguments before it: one kind at a time", arg)
		}
		found, names[i] = k, name
	}
	return found, names, nil
}

// deploymentName accepts "NAME" and "deployment/NAME".
func deploymentName(arg string) (string, error) {
	if !strings.Contains(arg, "/") {
		return arg, nil
	}
	_, names, err := parseObjects([]string{arg}, kindDeployment)
	if err != nil {
		return "", err
	}
	return names[0], nil
}

// missing is the error for a name that does not exist.
func missing(k kind, name string) error {
	return fmt.Errorf("there is no %s %q: see `fleet get %s`", k, name, k.spellings()[0])
}

// completionTimeout bounds how long the shell waits for names.
const completionTimeout = 2 * time.Second

// completer completes arguments at a shell.
type completer = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeNames completes names of a kind.
func completeNames(app *cli.App, k kind) completer {
	return func(command *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		found := slices.DeleteFunc(namesOf(app, command, k), func(name string) bool { return slices.Contains(args, name) })
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeObjects completes a kind, then names of it.
func completeObjects(app *cli.App, of ...kind) completer {
	return func(command *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 0 {
			var words []cobra.Completion
			for _, k := range of {
				words = append(words, k.spellings()[0])
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		}
		k, err := parseKind(args[0], kindDevice, kindDeployment)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completeNames(app, k)(command, args[1:], word)
	}
}

// namesOf returns the names of a kind, none when the fleet does not answer soon.
func namesOf(app *cli.App, command *cobra.Command, k kind) []string {
	ctx, cancel := context.WithTimeout(command.Context(), completionTimeout)
	defer cancel()
	command.SetContext(ctx)
	var names []string
	_ = app.Follow(command, func(ctx context.Context, session cli.Session) error {
		snapshot, err := live.Read(ctx, session.Fleet, live.Parts{Devices: k == kindDevice, Deployments: k == kindDeployment})
		if err != nil {
			return err
		}
		for id := range snapshot.Devices {
			names = append(names, string(id))
		}
		for name := range snapshot.Deployments {
			names = append(names, string(name))
		}
		return nil
	})
	slices.Sort(names)
	return names
}
