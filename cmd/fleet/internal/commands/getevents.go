package commands

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func eventHeader() []string { return []string{"LAST-SEEN", "KIND", "OBJECT", "REASON", "MESSAGE"} }

func eventRow(e show.Event) []string {
	return []string{show.Age(time.Since(e.Time)), e.Kind, e.Object(), orDash(e.Reason), e.Message}
}

// getEvents prints events, oldest first.
func getEvents(ctx context.Context, session cli.Session, o getOptions, names []string, format show.Format, out io.Writer) error {
	q := domain.EventQuery{Kind: contracts.EventKind(o.kind), Follow: o.watch || o.follow}
	if o.since > 0 {
		q.Since = time.Now().Add(-o.since)
	}
	table := show.NewTable(out, eventHeader()...)
	if format == show.FormatWide {
		table = show.NewTable(out, append(eventHeader(), "TIME", "ACTOR")...)
	}
	var found []show.Event
	err := session.Events.Read(ctx, q, func(stored contracts.Event) error {
		e := show.NewEvent(stored)
		if len(names) > 0 && !slices.Contains(names, e.Device) && !slices.Contains(names, e.Deployment) {
			return nil
		}
		if !q.Follow {
			found = append(found, e)
			return nil
		}
		return writeEvents(out, table, format, e)
	})
	if err != nil || q.Follow {
		return err
	}
	if format == show.FormatJSON || format == show.FormatYAML {
		return show.Write(out, format, show.NewList(found))
	}
	return writeEvents(out, table, format, found...)
}

func writeEvents(out io.Writer, table *show.Table, format show.Format, events ...show.Event) error {
	if format == show.FormatJSON || format == show.FormatYAML {
		for _, e := range events {
			if err := show.WriteOne(out, format, e); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, len(events))
	for i, e := range events {
		rows[i] = eventRow(e)
		if format == show.FormatWide {
			rows[i] = append(rows[i], e.Time.UTC().Format(time.RFC3339), orDash(e.Actor))
		}
	}
	return table.Write(rows...)
}

// recentEvents returns the newest events that the query chooses, oldest first.
func recentEvents(ctx context.Context, log domain.EventLog, q domain.EventQuery, most int) ([]show.Event, error) {
	var recent []show.Event
	err := log.Read(ctx, q, func(e contracts.Event) error {
		if len(recent) == most {
			recent = slices.Delete(recent, 0, 1)
		}
		recent = append(recent, show.NewEvent(e))
		return nil
	})
	return recent, err
}
