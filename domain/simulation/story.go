package simulation

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	mostDevices     = 6
	mostDeployments = 3
	settleTime      = 15 * time.Minute
)

// Run lives one fleet's life and returns what went wrong: nil when it never
// did what it must not, and converged after the faults stopped. It must be
// called inside a synctest bubble.
func (w *World) Run(ctx context.Context) error {
	life, end := context.WithCancel(ctx)
	defer end()
	if err := w.live(life); err != nil {
		return fmt.Errorf("the story: %w", err)
	}
	if err := w.heal(life); err != nil {
		return fmt.Errorf("healing: %w", err)
	}
	time.Sleep(settleTime)
	err := w.check(life)
	before := w.recorder.Writes()
	time.Sleep(settleTime)
	if after := w.recorder.Writes(); after != before {
		err = errors.Join(err, fmt.Errorf("a fleet at rest wrote %d documents", after-before))
	}
	err = errors.Join(err, w.stop())
	for _, violation := range w.recorder.Violations() {
		err = errors.Join(err, errors.New(violation))
	}
	return err
}

// live does what people and the world do to a fleet.
func (w *World) live(ctx context.Context) error {
	w.startOperator(ctx)
	for range 2 + w.random.IntN(3) {
		if err := w.newDevice(ctx); err != nil {
			return err
		}
	}
	for range 8 + w.random.IntN(8) {
		if err := w.step(ctx); err != nil {
			return err
		}
		time.Sleep(time.Duration(w.random.IntN(60_000)) * time.Millisecond)
	}
	return nil
}

// newDevice registers a random device, unless it is registered.
func (w *World) newDevice(ctx context.Context) error {
	err := w.addDevice(ctx, contracts.DeviceID(fmt.Sprintf("d%d", w.random.IntN(mostDevices))))
	if errors.Is(err, domain.ErrAlreadyExists) {
		return nil
	}
	return err
}

func (w *World) randomDeployment() contracts.DeploymentName {
	return contracts.DeploymentName(fmt.Sprintf("app%d", w.random.IntN(mostDeployments)))
}

// step does one random thing.
func (w *World) step(ctx context.Context) error {
	switch w.random.IntN(13) {
	case 0, 1, 2:
		want := domain.FleetDeployment{Name: w.randomDeployment(), Spec: w.randomSpec()}
		_, _, err := domain.ApplyDeployment(ctx, w.backend.Deployments(), want)
		return err
	case 3:
		return w.deleteDeployment(ctx)
	case 4:
		return w.relabel(ctx)
	case 5:
		return w.newDevice(ctx)
	case 6:
		return w.removeDevice(ctx)
	case 7:
		return w.crashOrBoot(ctx)
	case 8:
		if err := w.killOperator(); err != nil {
			return err
		}
		time.Sleep(time.Duration(w.random.IntN(90)) * time.Second)
		w.startOperator(ctx)
		return nil
	case 9:
		w.backend.Stop()
		time.Sleep(time.Duration(w.random.IntN(120)) * time.Second)
		w.backend.Start()
		return nil
	case 10:
		if d := w.pickDevice(ctx); d != nil {
			d.link.SetConnected(w.random.IntN(2) == 0)
		}
		return nil
	case 11:
		if d := w.pickDevice(ctx); d != nil {
			d.weather.SetBad(w.random.IntN(3) > 0)
		}
		return nil
	default:
		if d := w.pickDevice(ctx); d != nil {
			return w.crashService(ctx, d)
		}
		return nil
	}
}

func (w *World) deleteDeployment(ctx context.Context) error {
	name := w.randomDeployment()
	current, err := w.backend.Deployments().Get(ctx, name)
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.backend.Deployments().Delete(ctx, name, current.Revision)
}

func (w *World) relabel(ctx context.Context) error {
	d := w.pickDevice(ctx)
	if d == nil {
		return nil
	}
	labels := w.randomLabels()
	_, err := domain.UpdateDevice(ctx, w.backend.Devices(), d.id, func(device *domain.FleetDevice) error {
		device.Labels = labels
		return nil
	})
	return err
}

func (w *World) removeDevice(ctx context.Context) error {
	d := w.pickDevice(ctx)
	if d == nil {
		return nil
	}
	current, err := w.backend.Devices().Get(ctx, d.id)
	if err != nil {
		return err
	}
	return w.backend.Devices().Delete(ctx, d.id, current.Revision)
}

func (w *World) crashOrBoot(ctx context.Context) error {
	d := w.pickDevice(ctx)
	switch {
	case d == nil:
		return nil
	case d.running():
		return d.crash()
	default:
		w.boot(ctx, d)
		return nil
	}
}

func (w *World) boot(ctx context.Context, d *device) {
	public, _ := w.key.Public().(ed25519.PublicKey)
	d.start(ctx, w.recorder, public)
}

// heal ends every fault.
func (w *World) heal(ctx context.Context) error {
	for _, d := range w.sorted() {
		d.weather.SetBad(false)
		d.link.SetConnected(true)
		if !d.running() {
			w.boot(ctx, d)
		}
	}
	return nil
}

// stop ends every process of the fleet.
func (w *World) stop() error {
	err := w.killOperator()
	for _, d := range w.sorted() {
		err = errors.Join(err, d.crash())
	}
	return err
}

// crashService ends a random service of the device, as if by itself.
func (w *World) crashService(ctx context.Context, d *device) error {
	workloads, err := d.runtime.List(ctx)
	if err != nil || len(workloads) == 0 {
		return err
	}
	workload := workloads[w.random.IntN(len(workloads))]
	if len(workload.Services) > 0 {
		d.runtime.Crash(workload.Name, workload.Services[w.random.IntN(len(workload.Services))].Name, 1)
	}
	return nil
}
