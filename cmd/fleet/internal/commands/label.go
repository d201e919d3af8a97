package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/selector"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func newLabelCommand(app *cli.App) *cobra.Command {
	var chosen string
	var overwrite bool
	command := &cobra.Command{
		Use:   "label device (NAME… | -l SELECTOR) KEY=VALUE… KEY-…",
		Short: "Set or remove labels of devices",
		Long: `label sets labels of devices (KEY=VALUE) and removes them (KEY-). A label that
has another value is changed with --overwrite only.

Selectors see these labels together with those below device.fleet.nationtech.io/,
which devices say about themselves, and fleet.nationtech.io/device, the device's
name; these cannot be set by people.`,
		Example: `  fleet label device paris-01 ring=canary
  fleet label device -l site=paris ring=1 --overwrite
  fleet label device paris-01 ring-`,
		Args:              cli.AtLeastOne("device and label, such as `label device NAME KEY=VALUE`"),
		ValidArgsFunction: completeObjects(app, kindDevice),
		RunE: func(command *cobra.Command, args []string) error {
			change, names, err := parseLabelChange(args, overwrite)
			if err != nil {
				return err
			}
			labels, err := selector.Parse(chosen)
			if err != nil {
				return cli.Usage(err)
			}
			if (len(names) == 0) == (chosen == "") {
				return cli.Usagef("which devices? name them, or choose them with -l")
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				if len(names) == 0 {
					if names, err = chooseDevices(ctx, session, labels); err != nil {
						return err
					}
				}
				var wrong []error
				for _, name := range names {
					wrong = append(wrong, change.apply(ctx, session.Devices, contracts.DeviceID(name), command.OutOrStdout()))
				}
				return errors.Join(wrong...)
			})
		},
	}
	command.Flags().StringVarP(&chosen, "selector", "l", "", "choose devices by label, such as site=paris")
	command.Flags().BoolVar(&overwrite, "overwrite", false, "change labels that have another value")
	return command
}

// labelChange is what to do with the labels of a device.
type labelChange struct {
	set       contracts.Labels
	remove    []string
	overwrite bool
}

func parseLabelChange(args []string, overwrite bool) (labelChange, []string, error) {
	change := labelChange{set: contracts.Labels{}, overwrite: overwrite}
	var objects []string
	for i, arg := range args {
		key, value, isSet := strings.Cut(arg, "=")
		removed, isRemoval := strings.CutSuffix(arg, "-")
		switch {
		case isSet:
			if _, twice := change.set[key]; twice {
				return labelChange{}, nil, cli.Usagef("label %q is given twice", key)
			}
			change.set[key] = value
		case isRemoval && i > 0:
			change.remove = append(change.remove, removed)
		case len(change.set)+len(change.remove) > 0:
			return labelChange{}, nil, cli.Usagef("%q is neither KEY=VALUE nor KEY-: devices come first", arg)
		default:
			objects = append(objects, arg)
		}
	}
	for _, key := range change.remove {
		if _, both := change.set[key]; both {
			return labelChange{}, nil, cli.Usagef("label %q is both set and removed", key)
		}
	}
	if err := contracts.CheckPeoplesLabels(change.set); err != nil {
		return labelChange{}, nil, cli.Usage(err)
	}
	if len(objects) == 0 {
		return labelChange{}, nil, cli.Usagef("whose labels? write `label device NAME KEY=VALUE`")
	}
	_, names, err := parseObjects(objects, kindDevice)
	if err == nil && len(change.set)+len(change.remove) == 0 {
		err = cli.Usagef("which labels? write KEY=VALUE to set one, KEY- to remove one")
	}
	return change, names, err
}

// chooseDevices returns the registered devices that a selector matches.
func chooseDevices(ctx context.Context, session cli.Session, labels contracts.LabelSelector) ([]string, error) {
	l := deviceListing(session)
	snapshot, err := live.Read(ctx, session.Fleet, l.parts)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range l.choose(snapshot, query{labels: labels}) {
		if _, registered := snapshot.Devices[contracts.DeviceID(d.Name)]; registered {
			names = append(names, d.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no registered device matches %q: see `fleet get devices -o wide`", selector.Format(labels))
	}
	return names, nil
}

// errSame means that a device has the wanted labels already.
var errSame = errors.New("nothing to change")

func (c labelChange) apply(ctx context.Context, registry domain.DeviceRegistry, id contracts.DeviceID, out io.Writer) error {
	_, err := domain.UpdateDevice(ctx, registry, id, func(device *domain.FleetDevice) error {
		before := maps.Clone(device.Labels)
		if device.Labels == nil {
			device.Labels = contracts.Labels{}
		}
		for _, key := range slices.Sorted(maps.Keys(c.set)) {
			if old, ok := before[key]; ok && old != c.set[key] && !c.overwrite {
				return fmt.Errorf("device %q has label %s=%s already: change it with --overwrite", id, key, old)
			}
			device.Labels[key] = c.set[key]
		}
		for _, key := range c.remove {
			delete(device.Labels, key)
		}
		if maps.Equal(before, device.Labels) {
			return errSame
		}
		return device.Validate()
	})
	word := "labeled"
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return missing(kindDevice, string(id))
	case errors.Is(err, errSame):
		word = "not labeled"
	case err != nil:
		return err
	case len(c.set) == 0:
		word = "unlabeled"
	}
	_, err = fmt.Fprintf(out, "device/%s %s\n", id, word)
	return err
}
