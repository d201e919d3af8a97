package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/domain"
)

// purge removes every workload and what the agent knows, but not its
// configuration and its key.
func purge(ctx context.Context, path string, out, logs io.Writer) error {
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	log := newLogger(logs, c.Log)
	if err := purgeProcesses(ctx, c, out, log); err != nil {
		return err
	}
	if err := purgeContainers(ctx, c, out, log); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(c.StateDir, desiredDir)); err != nil {
		return fmt.Errorf("forget the desired state: %w", err)
	}
	_, err = fmt.Fprintf(out, "device %s runs nothing and knows nothing any more\n", c.Device)
	return err
}

func purgeProcesses(ctx context.Context, c config.Config, out io.Writer, log *slog.Logger) error {
	processes, err := openProcesses(c, log)
	if err != nil {
		return err
	}
	supervision, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error { return processes.Run(supervision) })
	err = removeAll(ctx, processes, out)
	cancel()
	return errors.Join(err, group.Wait())
}

// purgeContainers needs the engine only if this agent ever found one.
func purgeContainers(ctx context.Context, c config.Config, out io.Writer, log *slog.Logger) error {
	if c.Podman.Disabled {
		return nil
	}
	containers, err := openContainers(ctx, c, log)
	if err != nil {
		return err
	}
	defer containers.Close()
	if !containers.Found() {
		return nil
	}
	return removeAll(ctx, containers, out)
}

func removeAll(ctx context.Context, runtime domain.WorkloadRuntime, out io.Writer) error {
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
