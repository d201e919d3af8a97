package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/podman"
	"github.com/nationtech/harmony-fleet/adapters/process"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/access"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/inventory"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/metrics"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// desiredDir is where the desired state lies, below the state directory.
const desiredDir = "agent"

// device is the agent with all its parts, ready to run.
type device struct {
	engine *agent.Agent
	conn   *nats.Conn
	// access is that of an enrolled device, nil otherwise.
	access     *access.Access
	rotation   *rotation
	processes  *process.Runtime
	containers *podman.Runtime
	// metrics is nil when nobody shall read them.
	metrics *metrics.Server
	log     *slog.Logger
	version string
}

func build(ctx context.Context, c config.Config, version string, log *slog.Logger) (*device, error) {
	trusted, err := c.TrustedKeys()
	if err != nil {
		return nil, err
	}
	store, err := agent.OpenDirStore(filepath.Join(c.StateDir, desiredDir), log)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	d := &device{log: log, version: version}
	runtimes, err := d.runtimes(ctx, c)
	if err != nil {
		return nil, err
	}
	credential, err := d.credential(c)
	if err != nil {
		return nil, err
	}
	d.conn, err = nats.Connect(ctx, nats.Config{
		Servers:     c.Broker.Servers,
		Name:        "fleet-agent " + string(c.Device),
		Credential:  credential,
		CAFile:      c.Broker.CAFile,
		InboxPrefix: contracts.InboxPrefix(c.Device),
		Logger:      log,
	})
	if err != nil {
		return nil, err
	}
	host, err := hostCommands(c)
	if err != nil {
		return nil, err
	}
	var reporter domain.ObservedStateReporter = nats.NewObservedStateReporter(d.conn, c.Device)
	if c.Metrics.Listen != "" {
		counts := metrics.NewCounts()
		reporter = counts.Reporter(reporter)
		for i, runtime := range runtimes {
			runtimes[i] = counts.Runtime(runtime)
		}
		page := func() string { return metrics.Page(d.engine.Status(), counts) }
		d.metrics = metrics.NewServer(c.Metrics.Listen, page, log)
	}
	var rotate func(context.Context, string) error
	if d.access != nil {
		d.rotation = newRotation(c, d.access, trusted, log)
		rotate = d.rotation.accept
	}
	started := time.Now()
	d.engine = agent.New(
		agent.Identity{Device: c.Device, TrustedKeys: trusted},
		store,
		agent.Capabilities{
			Source:       nats.NewDesiredStateSource(d.conn, c.Device),
			Reporter:     reporter,
			Link:         d.conn,
			Commands:     nats.NewCommandServer(d.conn, c.Device),
			Runtimes:     runtimes,
			HostCommands: host,
		},
		agent.Options{
			Version: version,
			Logger:  log,
			Exec:    c.Commands.Exec,
			Rotate:  rotate,
			Info:    func() contracts.DeviceInfo { return deviceInfo(c, version, started, runtimes) },
		},
	)
	return d, nil
}

// runtimes opens what this host can run workloads with.
func (d *device) runtimes(ctx context.Context, c config.Config) ([]domain.WorkloadRuntime, error) {
	var all []domain.WorkloadRuntime
	if !c.Process.Disabled {
		processes, err := openProcesses(c, d.log)
		if err != nil {
			return nil, err
		}
		d.processes = processes
		all = append(all, processes)
	}
	if !c.Podman.Disabled {
		containers, err := openContainers(ctx, c, d.log)
		if err != nil {
			return nil, err
		}
		d.containers = containers
		all = append(all, containers)
	}
	return all, nil
}

// credential is the device's tokens when it is enrolled, or what the
// configuration names.
func (d *device) credential(c config.Config) (nats.Credential, error) {
	switch {
	case c.Identity != nil:
		var err error
		d.access, err = access.New(c.Identities(), *c.Identity, d.log)
		return nats.TokenCredential(d.access), err
	case c.Broker.NKeyFile != "":
		return nats.SeedFile(c.Broker.NKeyFile), nil
	case c.Broker.User != "":
		return nats.PasswordFile(c.Broker.User, c.Broker.PasswordFile), nil
	default:
		return nats.Credential{}, nil
	}
}

func deviceInfo(c config.Config, version string, started time.Time, runtimes []domain.WorkloadRuntime) contracts.DeviceInfo {
	names := make([]string, len(runtimes))
	for i, runtime := range runtimes {
		names[i] = runtime.Name()
	}
	return contracts.DeviceInfo{
		Labels:       c.Labels,
		AgentVersion: version,
		Inventory:    inventory.Read(c.StateDir, names),
		BootID:       inventory.BootID(),
		StartedAt:    started,
	}
}

// run works until ctx is cancelled; workloads go on after that.
func (d *device) run(ctx context.Context) error {
	d.log.Info("starting", slog.String("version", d.version))
	group, ctx := errgroup.WithContext(ctx)
	if d.processes != nil {
		group.Go(func() error { return d.processes.Run(ctx) })
	}
	if d.metrics != nil {
		group.Go(func() error { return d.metrics.Run(ctx) })
	}
	if d.access != nil {
		group.Go(func() error { return d.access.Run(ctx) })
		group.Go(func() error { return d.rotation.run(ctx) })
	}
	group.Go(func() error { return d.engine.Run(ctx) })
	err := group.Wait()
	d.log.Info("stopped")
	return err
}

func (d *device) close() {
	d.conn.Close()
	if d.containers != nil {
		d.containers.Close()
	}
}
