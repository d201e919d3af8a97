package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	pids := fleettest.Children(fleet.PID(), "fleet-agent")
	if len(pids) != len(fleet.Devices) {
		return fmt.Errorf("%d agents run, not %d", len(pids), len(fleet.Devices))
	}
	before := make([]time.Duration, len(pids))
	for i, pid := range pids {
		before[i] = fleettest.CPUTime(pid)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(restTime):
	}
	var memory, busy float64
	for i, pid := range pids {
		memory = max(memory, float64(fleettest.Memory(pid))/mebibyte)
		busy = max(busy, 100*float64(fleettest.CPUTime(pid)-before[i])/float64(restTime))
	}
	b.most("fleet-agent, resident memory at rest, connected, 1 workload", "MiB", memory, 15)
	b.figure("fleet-agent, CPU over 60 s at rest, 1 workload", "%.2f %% of a core", busy)
	return nil
}
