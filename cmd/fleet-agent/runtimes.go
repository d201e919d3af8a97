package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/podman"
	"github.com/nationtech/harmony-fleet/adapters/process"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// Directories of the runtimes, below the state directory.
const (
	processDir = "process"
	podmanDir  = "podman"
)

func openProcesses(c config.Config, log *slog.Logger) (*process.Runtime, error) {
	processes, err := process.New(filepath.Join(c.StateDir, processDir), process.Options{Logger: log})
	if err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	return processes, nil
}

// openContainers does not need the engine to be up.
func openContainers(ctx context.Context, c config.Config, log *slog.Logger) (*podman.Runtime, error) {
	containers, err := podman.New(ctx, podman.Options{
		Socket:      c.Podman.Socket,
		StateDir:    filepath.Join(c.StateDir, podmanDir),
		AuthFile:    c.Podman.AuthFile,
		PullTimeout: time.Duration(c.Podman.PullTimeout),
		Owner:       c.Podman.Owner,
		Logger:      log,
	})
	if err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	return containers, nil
}

// hostCommands returns who runs commands on this host, nil when nobody shall.
func hostCommands(c config.Config) (domain.CommandRunner, error) {
	if c.Commands.Exec != agent.ExecAll {
		return nil, nil
	}
	host, err := process.NewHostCommands()
	if err != nil {
		return nil, fmt.Errorf("commands on the host: %w", err)
	}
	return host, nil
}
