package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/process"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
)

// purge removes every workload and what the agent knows, but not its
// configuration and its key.
func purge(ctx context.Context, path string, out, logs io.Writer) error {
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	processes, err := process.New(filepath.Join(c.StateDir, processDir), process.Options{Logger: newLogger(logs, c.Log)})
	if err != nil {
		return fmt.Errorf("process runtime: %w", err)
	}
	supervision, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error { return processes.Run(supervision) })
	err = removeAll(ctx, processes, out)
	cancel()
	if waited := group.Wait(); err == nil {
		err = waited
	}
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(c.StateDir, desiredDir)); err != nil {
		return fmt.Errorf("forget the desired state: %w", err)
	}
	_, err = fmt.Fprintf(out, "device %s runs nothing and knows nothing any more\n", c.Device)
	return err
}

func removeAll(ctx context.Context, runtime *process.Runtime, out io.Writer) error {
	workloads, err := runtime.List(ctx)
	if err != nil {
		return fmt.Errorf("list workloads: %w", err)
	}
	for _, workload := range workloads {
		if err := runtime.Remove(ctx, workload.Name); err != nil {
			return fmt.Errorf("remove %s: %w", workload.Name, err)
		}
		if _, err := fmt.Fprintf(out, "removed %s\n", workload.Name); err != nil {
			return err
		}
	}
	return nil
}
