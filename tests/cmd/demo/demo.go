package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

const (
	devices    = 10
	deployment = "hello"
	// greeting is what the second version prints.
	greeting = "bonjour"
)

// demo is the state of the show.
type demo struct {
	fleet    *fleettest.Dev
	observer *fleettest.Observer
	examples string
	started  time.Time
	// pids are the workload's processes, by device.
	pids map[string]int
}

func run(ctx context.Context, bin, examples string) (err error) {
	dir, err := os.MkdirTemp("", "fleet-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	d := &demo{examples: examples, started: time.Now(), pids: map[string]int{}}
	d.say("starting a broker, the operator and %d agents on 3 sites", devices)
	d.fleet, err = fleettest.StartDev(ctx, bin, dir, nil, "--devices", fmt.Sprint(devices), "--sites", "paris,lyon,nice", "--port", "0")
	if err != nil {
		return err
	}
	ended := false
	defer func() {
		if !ended {
			err = errors.Join(err, d.fleet.End(), fmt.Errorf("fleet dev said:\n%s", d.fleet.Output()))
		}
	}()
	if d.observer, err = fleettest.Observe(ctx, d.fleet.Server, d.fleet.NKey); err != nil {
		return err
	}
	defer d.observer.Close()

	for _, step := range []func(context.Context) error{d.online, d.deploy, d.heal, d.change, d.remove} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	ended = true
	if err := d.fleet.End(); err != nil {
		return fmt.Errorf("stop the fleet: %w\n%s", err, d.fleet.Output())
	}
	d.say("the fleet has stopped and left nothing behind")
	return nil
}

func (d *demo) say(format string, args ...any) {
	fmt.Printf("%5.1fs  %s\n", time.Since(d.started).Seconds(), fmt.Sprintf(format, args...))
}

// show runs a CLI command and prints it with its output, as a terminal would.
func (d *demo) show(ctx context.Context, args ...string) error {
	fmt.Printf("        $ fleet %s\n", strings.Join(args, " "))
	out, err := d.fleet.CLI(ctx, args...)
	for line := range strings.Lines(out) {
		fmt.Printf("        %s", line)
	}
	return err
}

func (d *demo) online(ctx context.Context) error {
	err := fleettest.Until(ctx, fmt.Sprintf("%d devices to be online", devices), func() (bool, string) {
		n := d.observer.Seen(d.fleet.Devices, d.started)
		return n == devices, fmt.Sprintf("%d online", n)
	})
	if err != nil {
		return err
	}
	d.say("%d devices are online", devices)
	return d.show(ctx, "get", "devices")
}

func (d *demo) deploy(ctx context.Context) error {
	if err := d.apply(ctx, "hello.yaml"); err != nil {
		return err
	}
	for _, device := range d.fleet.Devices {
		service, ok := d.observer.Service(device, deployment)
		if !ok || !fleettest.Alive(service.PID) {
			return fmt.Errorf("device %s reports %+v, and no such process runs", device, service)
		}
		d.pids[device] = service.PID
	}
	d.say("%d processes run, one on each device", len(d.pids))
	return nil
}

// apply applies an example and waits until it runs everywhere.
func (d *demo) apply(ctx context.Context, file string) error {
	if err := d.show(ctx, "apply", "-f", filepath.Join(d.examples, file)); err != nil {
		return err
	}
	generation, err := d.observer.AwaitRunning(ctx, deployment, devices, func(seen string) { d.say("  %s", seen) })
	if err != nil {
		return err
	}
	d.say("generation %d runs on all %d devices", generation, devices)
	return nil
}

// heal kills one workload by its process ID and waits for it to come back.
func (d *demo) heal(ctx context.Context) error {
	device := d.fleet.Devices[0]
	pid := d.pids[device]
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the workload of %s: %w", device, err)
	}
	d.say("killed process %d on %s", pid, device)
	err := fleettest.Until(ctx, "the workload to come back", func() (bool, string) {
		service, _ := d.observer.Service(device, deployment)
		healed := service.PID != pid && service.Restarts > 0 && fleettest.Alive(service.PID)
		if healed {
			d.pids[device] = service.PID
		}
		return healed, fmt.Sprintf("%+v", service)
	})
	if err != nil {
		return err
	}
	d.say("%s runs it again as process %d, with the restart counted", device, d.pids[device])
	return nil
}

// change rolls a changed spec out and looks at what it prints.
func (d *demo) change(ctx context.Context) error {
	before := d.pids
	d.pids = map[string]int{}
	if err := d.apply(ctx, "hello-v2.yaml"); err != nil {
		return err
	}
	for _, device := range d.fleet.Devices {
		service, _ := d.observer.Service(device, deployment)
		if service.PID == before[device] || fleettest.Alive(before[device]) {
			return fmt.Errorf("device %s still runs the old process %d", device, before[device])
		}
		d.pids[device] = service.PID
	}
	device := d.fleet.Devices[0]
	err := fleettest.Until(ctx, "the new version's output", func() (bool, string) {
		out, err := d.fleet.CLI(ctx, "logs", device+"/"+deployment, "--tail", "5")
		if err != nil {
			return false, err.Error()
		}
		return strings.Contains(out, greeting) && strings.Contains(out, device), out
	})
	if err != nil {
		return err
	}
	d.say("the old processes are gone, and the new ones print the new text")
	if err := d.show(ctx, "logs", device+"/"+deployment, "--tail", "1"); err != nil {
		return err
	}
	return d.show(ctx, "get", "deployments")
}

func (d *demo) remove(ctx context.Context) error {
	if err := d.show(ctx, "delete", "deployment", deployment); err != nil {
		return err
	}
	if err := d.observer.AwaitGone(ctx, deployment, d.fleet.Devices); err != nil {
		return err
	}
	for device, pid := range d.pids {
		if fleettest.Alive(pid) {
			return fmt.Errorf("process %d still runs on %s", pid, device)
		}
	}
	d.say("the deployment is gone from every device, processes included")
	return nil
}
