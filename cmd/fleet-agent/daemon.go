package main

import (
	"context"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/local"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/notify"
)

// runDaemon is the daemon's life: the agent, its status socket, and what the
// service manager is told.
func runDaemon(ctx context.Context, path, version string, getenv func(string) (string, bool), logs io.Writer) error {
	loaded, err := config.Load(path)
	if err != nil {
		return err
	}
	log := newLogger(logs, loaded.Log)
	claim, err := local.NewClaim(ctx, loaded.StateDir, log)
	if err != nil {
		return err
	}
	defer claim.Release()
	device, err := build(ctx, loaded, version, log)
	if err != nil {
		return err
	}
	defer device.close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return device.run(ctx) })
	group.Go(func() error {
		return claim.Run(ctx, func() local.Status {
			status := local.FromAgent(device.engine.Status())
			if device.access != nil {
				status.Identity = shownIdentity(device.access.Who())
			}
			return status
		})
	})
	group.Go(func() error {
		return notify.New(getenv, log).Run(ctx, func() { device.engine.Status() })
	})
	return group.Wait()
}
