package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

const mebibyte = 1 << 20

// sizes measures the agent's stripped binary on both architectures.
func (b *bench) sizes(ctx context.Context, dir string) error {
	for _, architecture := range []string{"amd64", "arm64"} {
		out := filepath.Join(dir, architecture)
		if err := fleettest.Build(ctx, b.root, out, architecture, "fleet-agent"); err != nil {
			return err
		}
		info, err := os.Stat(filepath.Join(out, "fleet-agent"))
		if err != nil {
			return err
		}
		b.most("fleet-agent, stripped binary, "+architecture, "MiB", float64(info.Size())/mebibyte, 12)
	}
	return nil
}

// restTime is how long a fleet at rest is looked at.
const restTime = 60 * time.Second

// idle measures agents that are connected and have a workload but nothing to do.
func (b *bench) idle(ctx context.Context, dir string) error {
	fleet, err := fleettest.StartDev(ctx, b.bin, filepath.Join(dir, "idle"), nil,
		"--devices", "3", "--sites", "paris", "--port", "0", "--heartbeat-interval", "30s")
	if err != nil {
		return err
	}
	defer func() { _ = fleet.End() }()
	observer, err := fleettest.Observe(ctx, fleet.Server, fleet.NKey)
	if err != nil {
		return err
	}
	defer observer.Close()
	if _, err := fleet.CLI(ctx, "apply", "-f", filepath.Join(b.root, "examples", "hello.yaml")); err != nil {
		return err
	}
	if _, err := observer.AwaitRunning(ctx, "hello", len(fleet.Devices), nil); err != nil {
		return err
	}
	memory, busy, err := rest(ctx, fleet)
	if err != nil {
		return err
	}
	b.most("fleet-agent, resident memory at rest, connected, 1 workload", "MiB", memory, 15)
	b.figure("fleet-agent, CPU over 60 s at rest, 1 workload", "%.2f %% of a core", busy)
	return nil
}

// idleContainers is idle for one agent with five services in containers.
func (b *bench) idleContainers(ctx context.Context, dir string) (err error) {
	engine, stop, err := startEngine(ctx, b.root)
	if errors.Is(err, errNoEngine) {
		b.figure("fleet-agent at rest, 5 containers", "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := os.Setenv("CONTAINER_HOST", "unix://"+engine.Socket()); err != nil {
		return err
	}
	defer func() { _ = os.Unsetenv("CONTAINER_HOST") }()
	fleet, err := fleettest.StartDev(ctx, b.bin, filepath.Join(dir, "containers"), nil,
		"--devices", "1", "--sites", "paris", "--port", "0", "--heartbeat-interval", "30s", "--containers")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.End()) }()
	observer, err := fleettest.Observe(ctx, fleet.Server, fleet.NKey)
	if err != nil {
		return err
	}
	defer observer.Close()
	manifest := filepath.Join(dir, "containers.yaml")
	if err := os.WriteFile(manifest, []byte(fiveServices()), 0o600); err != nil {
		return err
	}
	if _, err := fleet.CLI(ctx, "apply", "-f", manifest); err != nil {
		return err
	}
	if _, err := observer.AwaitRunning(ctx, "five", len(fleet.Devices), nil); err != nil {
		return err
	}
	memory, busy, err := rest(ctx, fleet)
	if err != nil {
		return err
	}
	b.most("fleet-agent, resident memory at rest, 5 containers", "MiB", memory, 20)
	// What rounds to 0.0 %.
	b.most("fleet-agent, CPU over 60 s at rest, 5 containers", "% of a core", busy, 0.05)
	return nil
}

func fiveServices() string {
	var text strings.Builder
	text.WriteString(`apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: five}
spec:
  targetSelector: {}
  score:
    type: PodmanV0
    data:
      services:
`)
	for i := range 5 {
		fmt.Fprintf(&text, "        - {name: app-%d, image: %q, pullPolicy: never}\n", i, benchImage)
	}
	return text.String()
}

// rest lets a fleet rest, and returns the most that one of its agents has in
// memory, in MiB, and uses of a core, in percent.
func rest(ctx context.Context, fleet *fleettest.Dev) (memory, busy float64, err error) {
	pids := fleettest.Children(fleet.PID(), "fleet-agent")
	if len(pids) != len(fleet.Devices) {
		return 0, 0, fmt.Errorf("%d agents run, not %d", len(pids), len(fleet.Devices))
	}
	before := make([]time.Duration, len(pids))
	for i, pid := range pids {
		before[i] = fleettest.CPUTime(pid)
	}
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(restTime):
	}
	for i, pid := range pids {
		memory = max(memory, float64(fleettest.Memory(pid))/mebibyte)
		busy = max(busy, 100*float64(fleettest.CPUTime(pid)-before[i])/float64(restTime))
	}
	return memory, busy, nil
}
