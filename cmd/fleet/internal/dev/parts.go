package dev

import (
	"context"
	"os"

	"golang.org/x/term"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/local"
	"github.com/nationtech/harmony-fleet/deploy/progress"
)

// part is a Score of a development fleet.
type part struct {
	name      string
	resources func(local.Units) ([]deploy.Resource, error)
	smoke     func(context.Context, deploy.Progress) error
}

var _ deploy.Score[local.Units] = part{}

// Name implements deploy.Score.
func (p part) Name() string { return p.name }

// Resources implements deploy.Score.
func (p part) Resources(on local.Units) ([]deploy.Resource, error) { return p.resources(on) }

// Smoke implements deploy.Score.
func (p part) Smoke(ctx context.Context, _ local.Units, progress deploy.Progress) error {
	return p.smoke(ctx, progress)
}

// broker is the broker, with what the others expect to find in it.
func (f *fleet) broker() part {
	return part{
		name: "broker",
		resources: func(on local.Units) ([]deploy.Resource, error) {
			return []deploy.Resource{
				&local.Service{Units: on, Name: "broker", Where: f.server.URL(), Run: f.server.Run},
				f.registered(),
			}, nil
		},
		smoke: func(ctx context.Context, _ deploy.Progress) error {
			conn, err := f.connect(ctx)
			if err == nil {
				conn.Close()
			}
			return err
		},
	}
}

// registered are the streams and the registry's records, which others change as
// well: they are made once for each run.
func (f *fleet) registered() *local.Made {
	made := false
	return &local.Made{
		Name: "streams and registry",
		Look: func(context.Context) (deploy.Change, error) {
			if made {
				return deploy.Unchanged("there"), nil
			}
			return deploy.Change{Action: deploy.ActionCreate, Summary: "make what is not there yet"}, nil
		},
		Make: func(ctx context.Context, _ deploy.Progress) error {
			err := f.register(ctx)
			made = err == nil
			return err
		},
	}
}

// stages are the parts that are processes. Those of one stage start together.
func (f *fleet) stages() [][]part {
	first, second := []part{}, []part{}
	if !f.options.NoOperator {
		first = append(first, part{name: "operator", resources: f.operatorProgram, smoke: f.askOperator})
	}
	if f.options.Auth {
		// That the callout is ready was seen when it started.
		nothing := func(context.Context, deploy.Progress) error { return nil }
		first = append(first, part{name: "identity", resources: f.identities, smoke: nothing})
	}
	if !f.options.NoAgents {
		second = append(second, part{name: "agents", resources: f.agents, smoke: f.hearAll})
	}
	if f.options.Auth {
		return [][]part{first, second}
	}
	return [][]part{append(first, second...)}
}

// observer shows what is done: a live tree on a terminal, lines elsewhere.
func (f *fleet) observer() deploy.Options {
	show := progress.Lines(f.out)
	if file, ok := f.out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		show = progress.Tree(file, func() (int, int) {
			columns, rows, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 80, 24
			}
			return columns, rows
		})
	}
	return deploy.Options{Companions: []deploy.Companion{show}}
}
