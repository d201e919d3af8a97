package commands

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/selector"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
)

// getOptions are the flags of get.
type getOptions struct {
	format   string
	selector string
	watch    bool
	follow   bool
	since    time.Duration
	kind     string
}

func newGetCommand(app *cli.App) *cobra.Command {
	var o getOptions
	command := &cobra.Command{
		Use:   "get (devices|deployments|events) [NAME…]",
		Short: "List devices, deployments or events",
		Long: `get lists devices, deployments or events, sorted by name or by time.

Devices    STATUS is Online, Offline, Never seen (registered, but has not
           connected yet; NeverSeen in json), Revoked, or Unregistered (connected, but not
           registered). DEPLOYMENTS is running/all, as the device said last.
Deployments TARGETED devices match the selector; UPDATED ones acted upon the
           current generation; OFFLINE ones are counted by what they last said.
           STATUS is Available, Progressing, Stalled, Offline (no targeted
           device is online), NoDevices, Waiting (for the operator) or Removing.
Events     names are those of devices or deployments.

-o json and -o yaml print one object when one NAME is given, otherwise
{"items": […]}; with --watch, one object per line or document. Fields, those
marked ? being absent when unknown:

  device      name status labels lastSeen? registeredAt? agentVersion?
              appliedGeneration? startedAt? bootID? inventory? refused? upgrade?
              deployments[]: name generation phase reason? message? since
              services[]: name state image? imageDigest? restarts exitCode? pid?
  deployment  name state generation? labels origin? changeCause? createdAt?
              updatedAt? spec? (as in the manifest)
              status?: observedGeneration targeted updated pending running
              degraded failed offline conditions[] problems[] updatedAt?
  event       time kind device? deployment? reason? message? actor?`,
		Example: `  # Which devices are there, and which are away?
  fleet get devices

  # Those of one site, as they change
  fleet get devices -l site=paris --watch

  # What is wrong with one deployment, for a script
  fleet get deployment web -o json

  # What happened in the last hour, and from now on
  fleet get events --since 1h --follow

  # Devices that went offline
  fleet get events --kind DeviceOffline`,
		Args:              cli.AtLeastOne("of devices, deployments or events"),
		ValidArgsFunction: completeObjects(app, kindDevice, kindDeployment, kindEvent),
		RunE: func(command *cobra.Command, args []string) error {
			k, names, err := parseObjects(args, kindDevice, kindDeployment, kindEvent)
			if err != nil {
				return err
			}
			if err := o.check(k); err != nil {
				return err
			}
			return get(app, command, o, k, names)
		},
	}
	flags := command.Flags()
	flags.StringVarP(&o.format, "output", "o", "", "wide, json, yaml or name")
	flags.StringVarP(&o.selector, "selector", "l", "", `label selector, such as site=paris,ring!=0 or "site in (paris,lyon)"`)
	flags.BoolVarP(&o.watch, "watch", "w", false, "go on and print what changes, until Ctrl-C")
	flags.BoolVarP(&o.follow, "follow", "f", false, "events: the same as --watch")
	flags.DurationVar(&o.since, "since", 0, "events: only those of the last time, such as 1h (default: all that are kept)")
	flags.StringVar(&o.kind, "kind", "", "events: only those of one kind, such as DeviceOffline")
	completeWords(command, "output", "wide", "json", "yaml", "name")
	var kinds []string
	for _, k := range contracts.EventKinds() {
		kinds = append(kinds, string(k))
	}
	completeWords(command, "kind", kinds...)
	return command
}

// completeWords completes the value of a flag.
func completeWords(command *cobra.Command, flag string, words ...string) {
	// The error means that the flag does not exist, which every test would see.
	_ = command.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func (o getOptions) check(k kind) error {
	formats := []show.Format{show.FormatTable, show.FormatWide, show.FormatJSON, show.FormatYAML, show.FormatName}
	if !slices.Contains(formats, show.Format(o.format)) {
		return cli.Usagef("-o %s is unknown: use wide, json, yaml or name", o.format)
	}
	if k != kindEvent {
		if o.follow || o.since != 0 || o.kind != "" {
			return cli.Usagef("--follow, --since and --kind are for events")
		}
		return nil
	}
	if o.selector != "" {
		return cli.Usagef("events have no labels: name devices or deployments instead of -l")
	}
	if show.Format(o.format) == show.FormatName {
		return cli.Usagef("events have no names: use json or yaml")
	}
	if o.since < 0 {
		return cli.Usagef("--since must not be negative")
	}
	if o.kind != "" {
		if err := contracts.EventKind(o.kind).Validate(); err != nil {
			return cli.Usagef("--kind: %w", err)
		}
	}
	return nil
}

func get(app *cli.App, command *cobra.Command, o getOptions, k kind, names []string) error {
	labels, err := selector.Parse(o.selector)
	if err != nil {
		return cli.Usage(err)
	}
	if len(names) > 0 && o.selector != "" {
		return cli.Usagef("choose by name or by -l, not both")
	}
	q := query{names: names, labels: labels}
	out, format := command.OutOrStdout(), show.Format(o.format)
	run := app.Do
	if o.watch || o.follow {
		run = app.Follow
	}
	return run(command, func(ctx context.Context, session cli.Session) error {
		switch k {
		case kindDevice:
			return getThings(ctx, session, deviceListing(session), q, format, o.watch, out)
		case kindDeployment:
			return getThings(ctx, session, deploymentListing(), q, format, o.watch, out)
		default:
			return getEvents(ctx, session, o, names, format, out)
		}
	})
}

// query chooses by name or by label.
type query struct {
	names  []string
	labels contracts.LabelSelector
}

// listing is how one kind of thing is listed.
type listing[T any] struct {
	kind   kind
	parts  live.Parts
	all    func(*live.Snapshot) []T
	name   func(T) string
	labels func(T) map[string]string
	header func(wide bool) []string
	row    func(thing T, wide bool) []string
	// still is thing without what only time changes.
	still func(T) T
	// gone is what is shown of a thing that is no more.
	gone func(T) T
}

func (l listing[T]) choose(snapshot *live.Snapshot, q query) []T {
	return slices.DeleteFunc(l.all(snapshot), func(thing T) bool {
		if len(q.names) > 0 {
			return !slices.Contains(q.names, l.name(thing))
		}
		return !q.labels.Matches(l.labels(thing))
	})
}

func getThings[T any](ctx context.Context, session cli.Session, l listing[T], q query, format show.Format, watch bool, out io.Writer) error {
	if watch {
		return watchThings(ctx, session, l, q, format, out)
	}
	snapshot, err := live.Read(ctx, session.Fleet, l.parts)
	if err != nil {
		return err
	}
	found := l.choose(snapshot, q)
	var wrong []error
	for _, name := range q.names {
		if !slices.ContainsFunc(found, func(thing T) bool { return l.name(thing) == name }) {
			wrong = append(wrong, missing(l.kind, name))
		}
	}
	if len(found) > 0 || len(wrong) == 0 {
		wrong = append(wrong, l.print(out, format, found, len(q.names) == 1))
	}
	return errors.Join(wrong...)
}

func (l listing[T]) print(out io.Writer, format show.Format, things []T, single bool) error {
	switch format {
	case show.FormatJSON, show.FormatYAML:
		if single {
			return show.Write(out, format, things[0])
		}
		return show.Write(out, format, show.NewList(things))
	case show.FormatName:
		for _, thing := range things {
			if _, err := io.WriteString(out, string(l.kind)+"/"+l.name(thing)+"\n"); err != nil {
				return err
			}
		}
		return nil
	case show.FormatTable, show.FormatWide:
	}
	wide := format == show.FormatWide
	rows := make([][]string, len(things))
	for i, thing := range things {
		rows[i] = l.row(thing, wide)
	}
	return show.NewTable(out, l.header(wide)...).Write(rows...)
}
