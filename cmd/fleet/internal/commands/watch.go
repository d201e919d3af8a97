package commands

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
)

// watchThings prints everything, then each thing whenever it changed.
func watchThings[T any](ctx context.Context, session cli.Session, l listing[T], q query, format show.Format, out io.Writer) error {
	wide := format == show.FormatWide
	table := show.NewTable(out, l.header(wide)...)
	printed := map[string]string{}
	before := map[string]T{}
	begun := false
	return live.Watch(ctx, session.Fleet, l.parts, func(snapshot *live.Snapshot) error {
		var changed []T
		now := map[string]T{}
		for _, thing := range l.choose(snapshot, q) {
			now[l.name(thing)] = thing
			form, err := l.form(thing, format)
			if err != nil {
				return err
			}
			if last, ok := printed[l.name(thing)]; !ok || last != form {
				printed[l.name(thing)] = form
				changed = append(changed, thing)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(before)) {
			if _, ok := now[name]; !ok {
				delete(printed, name)
				changed = append(changed, l.gone(before[name]))
			}
		}
		before = now
		if begun && len(changed) == 0 {
			return nil
		}
		begun = true
		return l.printChanged(out, table, format, changed)
	})
}

// form is what a change is recognised by.
func (l listing[T]) form(thing T, format show.Format) (string, error) {
	var shown any = l.row(l.still(thing), format == show.FormatWide)
	if format == show.FormatJSON || format == show.FormatYAML {
		shown = l.still(thing)
	}
	data, err := json.Marshal(shown)
	return string(data), err
}

func (l listing[T]) printChanged(out io.Writer, table *show.Table, format show.Format, things []T) error {
	if format == show.FormatTable || format == show.FormatWide {
		rows := make([][]string, len(things))
		for i, thing := range things {
			rows[i] = l.row(thing, format == show.FormatWide)
		}
		return table.Write(rows...)
	}
	for _, thing := range things {
		if format == show.FormatName {
			if err := l.print(out, format, []T{thing}, true); err != nil {
				return err
			}
			continue
		}
		if err := show.WriteOne(out, format, thing); err != nil {
			return err
		}
	}
	return nil
}
