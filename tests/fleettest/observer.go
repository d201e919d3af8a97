package fleettest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Observer sees a fleet as an operator's colleague would: through the broker,
// not through what the programs under test print.
type Observer struct {
	Devices     domain.DeviceRegistry
	Deployments domain.DeploymentStore
	Statuses    domain.DeploymentStatusStore
	Commands    domain.CommandBus

	conn    *nats.Conn
	consume domain.ObservedStateConsumer
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu    sync.Mutex
	state *domain.FleetState
	err   error
}

// Observe connects with the operator's rights and follows what devices say
// until Close.
func Observe(ctx context.Context, server, nkeyFile string) (*Observer, error) {
	conn, err := nats.Connect(ctx, nats.Config{
		Servers:         []string{server},
		Name:            "observer",
		Credential:      nats.SeedFile(nkeyFile),
		ReconnectJitter: 100 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	if err := conn.AwaitConnection(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	following, stop := context.WithCancel(ctx)
	o := &Observer{
		Devices:     nats.NewDeviceRegistry(conn),
		Deployments: nats.NewDeploymentStore(conn),
		Statuses:    nats.NewDeploymentStatusStore(conn),
		Commands:    nats.NewCommandBus(conn),
		conn:        conn,
		consume:     nats.NewObservedStateConsumer(conn),
		stop:        stop,
		state:       domain.NewFleetState(),
	}
	o.done.Go(func() { o.follow(following) })
	return o, nil
}

// follow keeps the state until ctx ends, beginning again when it must.
func (o *Observer) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := o.consume.Consume(ctx, func(observation domain.Observation) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.state.Observe(observation)
			return nil
		})
		if err != nil && !errors.Is(err, domain.ErrUnavailable) {
			o.mu.Lock()
			o.err = err
			o.mu.Unlock()
			return
		}
	}
}

// Close ends the observation.
func (o *Observer) Close() {
	o.stop()
	o.done.Wait()
	o.conn.Close()
}

// Device returns what is known about a device.
func (o *Observer) Device(id string) domain.DeviceState {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state.Device(contracts.DeviceID(id))
}

// Seen returns how many of the devices were heard of since a time.
func (o *Observer) Seen(ids []string, since time.Time) int {
	n := 0
	for _, id := range ids {
		if o.Device(id).SeenAt.After(since) {
			n++
		}
	}
	return n
}

// Service returns a service of a deployment on a device as last reported.
func (o *Observer) Service(device, deployment string) (contracts.ServiceReport, bool) {
	report, ok := o.Device(device).Deployment(contracts.DeploymentName(deployment))
	if !ok || len(report.Services) == 0 {
		return contracts.ServiceReport{}, false
	}
	return report.Services[0], true
}

// AwaitRunning waits until the status of a deployment says that the stored
// generation runs on all of n devices, and returns that generation. progress
// is told each new state.
func (o *Observer) AwaitRunning(ctx context.Context, name string, n int, progress func(string)) (uint64, error) {
	var deployment domain.FleetDeployment
	err := Until(ctx, "deployment "+name+" to be stored", func() (bool, string) {
		var err error
		deployment, err = o.Deployments.Get(ctx, contracts.DeploymentName(name))
		return err == nil, fmt.Sprint(err)
	})
	if err != nil {
		return 0, err
	}
	last := ""
	err = Until(ctx, fmt.Sprintf("deployment %s generation %d to run on %d devices", name, deployment.Generation, n), func() (bool, string) {
		status, err := o.Statuses.Get(ctx, contracts.DeploymentName(name))
		if err != nil {
			return false, err.Error()
		}
		seen := fmt.Sprintf("generation %d: %d matched, %d updated, %d running, %d failed", status.ObservedGeneration, status.Matched, status.Updated, status.Running, status.Failed)
		if seen != last && progress != nil {
			progress(seen)
		}
		last = seen
		return status.ObservedGeneration == deployment.Generation && status.Matched == n && status.Updated == n && status.Running == n, seen
	})
	return deployment.Generation, err
}

// AwaitGone waits until a deployment has neither a spec nor a status, and no
// device reports it.
func (o *Observer) AwaitGone(ctx context.Context, name string, devices []string) error {
	return Until(ctx, "deployment "+name+" to be gone", func() (bool, string) {
		if _, err := o.Deployments.Get(ctx, contracts.DeploymentName(name)); !errors.Is(err, domain.ErrNotFound) {
			return false, "its spec is stored"
		}
		if status, err := o.Statuses.Get(ctx, contracts.DeploymentName(name)); !errors.Is(err, domain.ErrNotFound) {
			return false, fmt.Sprintf("its status is %+v (%v)", status, err)
		}
		for _, device := range devices {
			if report, ok := o.Device(device).Deployment(contracts.DeploymentName(name)); ok {
				return false, fmt.Sprintf("device %s reports it as %s", device, report.Phase)
			}
		}
		return true, ""
	})
}
