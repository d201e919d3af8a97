package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/progressbar"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/roster"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

const (
	// batchSize is how many tokens are written to the disk at once.
	batchSize = 50
	// batchTimeout bounds the fleet's answers for one batch.
	batchTimeout = time.Minute
	// invitesAtATime bounds the requests under way.
	invitesAtATime = 8
	// shownFailures is how many failures are printed.
	shownFailures = 10
)

// createMany invites the devices of a CSV.
func createMany(app *cli.App, command *cobra.Command, o createOptions, labels contracts.Labels) error {
	rows, err := readRoster(o.csv, command.InOrStdin(), labels)
	if err != nil {
		return err
	}
	results, err := roster.OpenResults(o.results)
	if err != nil {
		return err
	}
	err = app.Follow(command, func(ctx context.Context, session cli.Session) error {
		many := inviter{session: session, options: o, results: results}
		bar := progressbar.New(command.ErrOrStderr(), len(rows))
		err := many.run(ctx, rows, bar.Set)
		bar.End()
		return many.report(err, len(rows), command.OutOrStdout())
	})
	return errors.Join(err, results.Close())
}

func readRoster(path string, stdin io.Reader, labels contracts.Labels) ([]roster.Row, error) {
	if path == "-" {
		rows, err := roster.Read(stdin, labels)
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		return rows, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--from-csv: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	rows, err := roster.Read(file, labels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; nobody was invited", path, err)
	}
	return rows, nil
}

// inviter invites many devices.
type inviter struct {
	session cli.Session
	options createOptions
	results *roster.Results

	invited int
	failed  []error
}

// run stops at the first batch in which everything failed: the fleet is away.
func (i *inviter) run(ctx context.Context, rows []roster.Row, progress func(int)) error {
	for begin := 0; begin < len(rows); begin += batchSize {
		batch := rows[begin:min(begin+batchSize, len(rows))]
		failed := len(i.failed)
		if err := i.batch(ctx, batch); err != nil {
			return err
		}
		progress(begin + len(batch))
		if len(i.failed)-failed == len(batch) && len(batch) > 1 {
			return fmt.Errorf("all of the last %d failed", len(batch))
		}
	}
	return nil
}

// batch makes tokens, writes them to the disk, and only then makes them valid.
func (i *inviter) batch(ctx context.Context, rows []roster.Row) error {
	limited, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	tickets := make([]enrollment.Ticket, len(rows))
	made := make([]string, len(rows))
	errs := each(len(rows), func(n int) (err error) {
		tickets[n], made[n], err = i.ticket(limited, rows[n])
		return err
	})
	var fresh []string
	for n, token := range made {
		if errs[n] == nil && token != "" {
			fresh = append(fresh, token)
		}
	}
	if err := i.results.Add(fresh); err != nil {
		return err
	}
	stored := each(len(rows), func(n int) error {
		if errs[n] != nil {
			return errs[n]
		}
		return storeTicket(limited, i.session, tickets[n], i.options.replace)
	})
	for n, err := range stored {
		if err == nil {
			i.invited++
			continue
		}
		i.failed = append(i.failed, fmt.Errorf("line %d: %w", rows[n].Line, err))
	}
	return ctx.Err()
}

// ticket returns the ticket for a row: with the token of an earlier run, or with
// a new one, which is returned as well.
func (i *inviter) ticket(ctx context.Context, row roster.Row) (enrollment.Ticket, string, error) {
	invitation := i.options.invitation(row.Device, row.Labels)
	if token := i.results.Token(row.Device, time.Minute); token != "" {
		ticket, err := enrollment.Resume(token, invitation)
		return ticket, "", err
	}
	ticket, err := enrollment.Prepare(ctx, i.session.Tokens, invitation)
	return ticket, ticket.Token, err
}

// report says what came of it.
func (i *inviter) report(err error, rows int, out io.Writer) error {
	if _, wrong := fmt.Fprintf(out, "%s of %d invited; the tokens are in %s\n", show.Plural(i.invited, "device"), rows, i.options.results); wrong != nil {
		return wrong
	}
	if err == nil && len(i.failed) == 0 {
		return nil
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s not invited", show.Plural(rows-i.invited, "device"))
	if err != nil {
		fmt.Fprintf(&text, " (%v)", err)
	}
	for n, failure := range i.failed {
		if n == shownFailures {
			fmt.Fprintf(&text, "\n  and %d more", len(i.failed)-n)
			break
		}
		fmt.Fprintf(&text, "\n  %v", failure)
	}
	text.WriteString("\nThe same command goes on where this one ended")
	return errors.New(text.String())
}

// each calls do for 0 to n-1, several at a time, and returns what it returned.
func each(n int, do func(int) error) []error {
	errs := make([]error, n)
	slots := make(chan struct{}, invitesAtATime)
	var group sync.WaitGroup
	for k := range n {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[k] = do(k)
		})
	}
	group.Wait()
	return errs
}
