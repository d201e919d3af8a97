package dev

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/sync/errgroup"
)

// runPrograms runs operator and agents until ctx ends or the broker does, and
// removes the workloads that the agents left.
func (f *fleet) runPrograms(ctx context.Context, served chan error) error {
	group, running := errgroup.WithContext(ctx)
	if !f.options.NoOperator {
		operator := child{
			name: "operator", path: f.operator, said: f.said, log: f.layout.operatorLog(),
			args: []string{"run", "--config", f.layout.operatorConfig()},
		}
		group.Go(func() error { return operator.run(running) })
	}
	admitting := make(chan struct{})
	if f.options.Auth {
		group.Go(func() error { return f.runAuthority(running, group, admitting) })
	}
	if !f.options.NoAgents {
		group.Go(func() error {
			if f.options.Auth {
				if err := f.enrollAll(running, admitting); err != nil || running.Err() != nil {
					return err
				}
			}
			f.startAgents(running, group)
			return nil
		})
	}
	group.Go(func() error {
		select {
		case <-running.Done():
			return nil
		case err := <-served:
			served <- err // for whoever waits for the server's end
			return fmt.Errorf("the broker ended: %w", err)
		}
	})
	err := group.Wait()
	f.printf("stopping; workloads have until the end of their grace period, and Ctrl-C again leaves them behind\n")
	return errors.Join(err, f.removeWorkloads(ctx))
}

// said prints a line about a program.
func (f *fleet) said(format string, args ...any) { f.printf(format+"\n", args...) }

func (f *fleet) startAgents(ctx context.Context, group *errgroup.Group) {
	for _, m := range f.members {
		d := f.layout.device(m.id)
		agent := child{
			name: "agent " + string(m.id), path: f.agent, said: f.said, log: d.log(),
			args: []string{"--config", d.config()},
		}
		group.Go(func() error { return agent.run(ctx) })
	}
}

// removeWorkloads stops what outlives the agents on purpose.
func (f *fleet) removeWorkloads(ctx context.Context) error {
	if f.options.NoAgents {
		return nil
	}
	var group errgroup.Group
	group.SetLimit(atATime)
	for _, m := range f.members {
		if f.options.Auth && !f.layout.device(m.id).isEnrolled() {
			continue // it never ran
		}
		group.Go(func() error {
			config := f.layout.device(m.id).config()
			command := exec.CommandContext(context.WithoutCancel(ctx), f.agent, "purge", "--config", config)
			if said, err := command.CombinedOutput(); err != nil {
				return fmt.Errorf("remove the workloads of %s: %w: %s", m.id, err, strings.TrimSpace(string(said)))
			}
			return nil
		})
	}
	return group.Wait()
}

// atATime bounds the programs that are started at once and end soon.
const atATime = 8
