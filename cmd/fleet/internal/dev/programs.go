package dev

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/local"
	"github.com/nationtech/harmony-fleet/domain"
)

// atATime bounds the programs that are started at once and end soon.
const atATime = 8

// said prints a line about a program.
func (f *fleet) said(format string, args ...any) { f.printf(format+"\n", args...) }

// operatorProgram is fleet-operator.
func (f *fleet) operatorProgram(on local.Units) ([]deploy.Resource, error) {
	program := local.Process{
		Name: "operator", Path: f.operator, Said: f.said, Log: f.layout.operatorLog(),
		Args: func() []string { return []string{"run", "--config", f.layout.operatorConfig()} },
	}
	return []deploy.Resource{&local.Processes{Units: on, Name: "fleet-operator", All: []local.Process{program}}}, nil
}

// agents are the devices, with what they run.
func (f *fleet) agents(on local.Units) ([]deploy.Resource, error) {
	var resources []deploy.Resource
	if f.options.Auth {
		resources = append(resources, f.enrollment())
	}
	running := &local.Processes{Units: on, Name: "agents"}
	for _, m := range f.members {
		d := f.layout.device(m.id)
		running.All = append(running.All, local.Process{
			Name: "agent " + string(m.id), Path: f.agent, Said: f.said, Log: d.log(),
			Args: func() []string { return []string{"--config", d.config()} },
		})
	}
	return append(resources, f.workloads(), running), nil
}

// workloads outlive the agents on purpose, and are removed after them.
func (f *fleet) workloads() *local.Made {
	removed := false
	return &local.Made{
		Name: "workloads",
		Look: func(context.Context) (deploy.Change, error) { return deploy.Unchanged("those of deployments"), nil },
		Remove: &local.Made{
			Look: func(context.Context) (deploy.Change, error) {
				if removed {
					return deploy.Unchanged("none is left"), nil
				}
				return deploy.Change{Action: deploy.ActionDelete, Summary: "stop and remove what the agents left"}, nil
			},
			Make: func(ctx context.Context, _ deploy.Progress) error {
				removed = true
				return f.removeWorkloads(ctx)
			},
		},
	}
}

func (f *fleet) removeWorkloads(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(atATime)
	for _, m := range f.members {
		if f.options.Auth && !f.layout.device(m.id).isEnrolled() {
			continue // it never ran
		}
		group.Go(func() error {
			config := f.layout.device(m.id).config()
			command := exec.CommandContext(ctx, f.agent, "purge", "--config", config)
			if said, err := command.CombinedOutput(); err != nil {
				return fmt.Errorf("remove the workloads of %s: %w: %s", m.id, err, strings.TrimSpace(string(said)))
			}
			return nil
		})
	}
	return group.Wait()
}

// hearTimeout bounds how long all devices together may take to say something,
// on a machine that has more to do.
const hearTimeout = 5 * time.Minute

// errAllHeard ends the wait for the devices.
var errAllHeard = errors.New("all were heard")

// hearAll waits until every device that is not revoked has said that its agent
// started.
func (f *fleet) hearAll(ctx context.Context, progress deploy.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, hearTimeout)
	defer cancel()
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	registered, err := nats.NewDeviceRegistry(conn).List(ctx, contracts.LabelSelector{})
	if err != nil {
		return err
	}
	silent := map[contracts.DeviceID]bool{}
	for _, m := range f.members {
		silent[m.id] = true
	}
	for _, device := range registered {
		if device.Revoked {
			delete(silent, device.ID)
		}
	}
	if len(silent) == 0 {
		return nil
	}
	progress(fmt.Sprintf("wait: %d devices to say that they started", len(silent)))
	err = nats.NewObservedStateConsumer(conn).Consume(ctx, func(observation domain.Observation) error {
		if observation.Info != nil && !observation.Info.StartedAt.Before(f.began) {
			delete(silent, observation.Device)
		}
		if len(silent) == 0 {
			return errAllHeard
		}
		return nil
	})
	switch {
	case errors.Is(err, errAllHeard):
		return nil
	case err != nil:
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	}
	for id := range silent {
		return deploy.WithNext(fmt.Errorf("%d devices said nothing within %s, %s among them", len(silent), hearTimeout, id),
			"see its log, %s", f.layout.device(id).log())
	}
	return nil
}

// askOperator waits until the operator answers: it makes a token, which nobody
// gets.
func (f *fleet) askOperator(ctx context.Context, _ deploy.Progress) error {
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = prepareTicket(ctx, nats.NewTokenIssuer(conn), member{id: contextName, site: contextName})
	return deploy.WithNext(err, "see its log, %s", f.layout.operatorLog())
}
