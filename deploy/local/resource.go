package local

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nationtech/harmony-fleet/deploy"
)

// Service is a unit inside this process.
type Service struct {
	Units Units
	Name  string
	// Where says where it serves, for people.
	Where string
	// Run serves until its context ends, and then returns nil.
	Run func(context.Context) error
}

var _ deploy.Resource = (*Service)(nil)

// ID implements deploy.Resource.
func (s *Service) ID() string { return "service " + s.Name }

// Plan implements deploy.Resource.
func (s *Service) Plan(_ context.Context, goal deploy.Goal) (deploy.Change, error) {
	running := s.Units.Running(s.Name) != nil
	switch {
	case goal == deploy.Absent && running:
		return deploy.Change{Action: deploy.ActionDelete, Summary: "stop it"}, nil
	case goal == deploy.Absent:
		return deploy.Unchanged("does not run"), nil
	case running:
		return deploy.Unchanged("runs"), nil
	}
	return deploy.Change{Action: deploy.ActionCreate, Summary: "serve " + s.Where}, nil
}

// Apply implements deploy.Resource.
func (s *Service) Apply(_ context.Context, goal deploy.Goal, _ deploy.Progress) error {
	if goal == deploy.Absent {
		return s.Units.Stop(s.Name)
	}
	_, err := s.Units.Start(s.Name, s.Run)
	return err
}

// Processes are programs that run as children of this process, all at once.
type Processes struct {
	Units Units
	Name  string
	All   []Process
}

var _ deploy.Resource = (*Processes)(nil)

// ID implements deploy.Resource.
func (p *Processes) ID() string { return p.Name }

// Plan implements deploy.Resource.
func (p *Processes) Plan(_ context.Context, goal deploy.Goal) (deploy.Change, error) {
	running := 0
	for _, process := range p.All {
		if p.Units.Running(process.Name) != nil {
			running++
		}
	}
	switch {
	case goal == deploy.Absent && running == 0:
		return deploy.Unchanged("none runs"), nil
	case goal == deploy.Absent:
		return deploy.Change{Action: deploy.ActionDelete, Summary: fmt.Sprintf("stop %d", running)}, nil
	case running == len(p.All) && len(p.All) == 1:
		return deploy.Unchanged("runs"), nil
	case running == len(p.All):
		return deploy.Unchanged(fmt.Sprintf("%d run", running)), nil
	case len(p.All) == 1:
		return deploy.Change{Action: deploy.ActionCreate, Summary: "start " + p.All[0].Path}, nil
	}
	return deploy.Change{Action: deploy.ActionCreate, Summary: fmt.Sprintf("start %d", len(p.All)-running)}, nil
}

// Apply implements deploy.Resource.
func (p *Processes) Apply(ctx context.Context, goal deploy.Goal, _ deploy.Progress) error {
	problems := make([]error, len(p.All))
	var group sync.WaitGroup
	for i, process := range p.All {
		group.Go(func() {
			if goal == deploy.Absent {
				problems[i] = p.Units.Stop(process.Name)
			} else if p.Units.Running(process.Name) == nil {
				problems[i] = process.start(ctx, p.Units)
			}
		})
	}
	group.Wait()
	return errors.Join(problems...)
}

// Made is something that is made by a function, such as the streams of a broker.
type Made struct {
	Name string
	// Look and Make are Plan and Apply for the goal Present. It stays when the
	// Score is destroyed unless Remove is set, which then makes it Absent.
	Look   func(context.Context) (deploy.Change, error)
	Make   func(context.Context, deploy.Progress) error
	Remove *Made
}

var _ deploy.Resource = (*Made)(nil)

// ID implements deploy.Resource.
func (m *Made) ID() string { return m.Name }

// Plan implements deploy.Resource.
func (m *Made) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	switch {
	case goal == deploy.Present:
		return m.Look(ctx)
	case m.Remove == nil:
		return deploy.Unchanged("kept"), nil
	}
	return m.Remove.Look(ctx)
}

// Apply implements deploy.Resource.
func (m *Made) Apply(ctx context.Context, goal deploy.Goal, progress deploy.Progress) error {
	if goal == deploy.Present {
		return m.Make(ctx, progress)
	}
	return m.Remove.Make(ctx, progress)
}
