package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// fleet is what is to be shown: a copy of the fleet that follows the domain's
// stores. It says which device or deployment changed; what it then looks like
// is asked for by name.
type fleet struct {
	capabilities Capabilities
	options      Options
	log          *slog.Logger
	// deviceChanged and deploymentChanged must not block. They are called with
	// the mutex held.
	deviceChanged     func(contracts.DeviceID)
	deploymentChanged func(contracts.DeploymentName)
	// complete is called once, when everything is known.
	complete func()

	mu          sync.Mutex
	known       known
	devices     map[contracts.DeviceID]*device
	deployments map[contracts.DeploymentName]domain.FleetDeployment
	statuses    map[contracts.DeploymentName]contracts.DeploymentStatus
	// graceFrom is since when every device could be heard.
	graceFrom time.Time
	// deaf: nothing can be heard now.
	deaf bool
}

// known says which of the stores are fully known.
type known struct{ devices, deployments, statuses, observed bool }

func (k known) all() bool { return k.devices && k.deployments && k.statuses && k.observed }

// device is what is known about one device.
type device struct {
	id         contracts.DeviceID
	registered bool
	record     domain.FleetDevice
	info       *contracts.DeviceInfo
	report     *contracts.DeviceReport
	seenAt     time.Time
	liveness   liveness
}

func newFleet(c Capabilities, o Options) *fleet {
	return &fleet{
		capabilities:      c,
		options:           o,
		log:               o.Logger,
		deviceChanged:     func(contracts.DeviceID) {},
		deploymentChanged: func(contracts.DeploymentName) {},
		complete:          func() {},
		devices:           map[contracts.DeviceID]*device{},
		deployments:       map[contracts.DeploymentName]domain.FleetDeployment{},
		statuses:          map[contracts.DeploymentName]contracts.DeploymentStatus{},
	}
}

// run follows the fleet until ctx is cancelled.
func (f *fleet) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	c := &f.capabilities
	group.Go(func() error { return f.follow(ctx, "devices", f.watchDevices) })
	group.Go(func() error { return f.follow(ctx, "deployments", f.watchDeployments) })
	group.Go(func() error { return f.follow(ctx, "deployment statuses", f.watchStatuses) })
	group.Go(func() error {
		return f.follow(ctx, "observed state", func(ctx context.Context) error { return c.Observed.Consume(ctx, f.observe) })
	})
	if c.Link != nil {
		group.Go(func() error { return c.Link.Watch(ctx, f.linkChanged) })
	}
	group.Go(func() error { return f.sweep(ctx) })
	return group.Wait()
}

// Bounds of the pause before a watch is begun again.
const (
	leastPause = 200 * time.Millisecond
	mostPause  = 15 * time.Second
)

// follow runs one watch, and again from the start when it breaks. What was
// known before stays until it is known better.
func (f *fleet) follow(ctx context.Context, what string, watch func(context.Context) error) error {
	pause := leastPause
	for ctx.Err() == nil {
		started := time.Now()
		err := watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(started) > mostPause {
			pause = leastPause
		}
		f.log.Warn("following the fleet broke and is begun again",
			slog.String("what", what), slog.Any("error", err), slog.Duration("pause", pause))
		if !sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, mostPause)
	}
	return nil
}

func (f *fleet) watchDevices(ctx context.Context) error {
	seen := map[contracts.DeviceID]struct{}{}
	return f.capabilities.Devices.Watch(ctx, 0, func(change domain.DeviceChange) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch change.Kind {
		case domain.ChangePut:
			d := f.device(change.Key)
			d.registered, d.record = true, change.Value
			f.judge(d, time.Now())
			f.deviceChanged(change.Key)
		case domain.ChangeDeleted:
			f.deregister(change.Key)
		case domain.ChangeCaughtUp:
			for id, d := range f.devices {
				if _, ok := seen[id]; d.registered && !ok {
					f.deregister(id)
				}
			}
			f.learned(func(k *known) { k.devices = true })
			seen = nil
		}
		if seen != nil {
			seen[change.Key] = struct{}{}
		}
		return nil
	})
}

func (f *fleet) deregister(id contracts.DeviceID) {
	d, ok := f.devices[id]
	if !ok {
		return
	}
	d.registered, d.record = false, domain.FleetDevice{}
	if d.info == nil && d.report == nil && d.seenAt.IsZero() {
		delete(f.devices, id)
	}
	f.deviceChanged(id)
}

func (f *fleet) device(id contracts.DeviceID) *device {
	d, ok := f.devices[id]
	if !ok {
		d = &device{id: id}
		f.devices[id] = d
	}
	return d
}

func (f *fleet) watchDeployments(ctx context.Context) error {
	seen := map[contracts.DeploymentName]struct{}{}
	return f.capabilities.Deployments.Watch(ctx, 0, func(change domain.DeploymentChange) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch change.Kind {
		case domain.ChangePut:
			f.deployments[change.Key] = change.Value
			f.deploymentChanged(change.Key)
		case domain.ChangeDeleted:
			delete(f.deployments, change.Key)
			f.deploymentChanged(change.Key)
		case domain.ChangeCaughtUp:
			forgetOthers(f.deployments, seen, f.deploymentChanged)
			f.learned(func(k *known) { k.deployments = true })
			seen = nil
		}
		if seen != nil {
			seen[change.Key] = struct{}{}
		}
		return nil
	})
}

func (f *fleet) watchStatuses(ctx context.Context) error {
	seen := map[contracts.DeploymentName]struct{}{}
	return f.capabilities.Statuses.Watch(ctx, 0, func(change domain.StatusChange) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch change.Kind {
		case domain.ChangePut:
			f.statuses[change.Key] = change.Value
			f.deploymentChanged(change.Key)
		case domain.ChangeDeleted:
			delete(f.statuses, change.Key)
			f.deploymentChanged(change.Key)
		case domain.ChangeCaughtUp:
			forgetOthers(f.statuses, seen, f.deploymentChanged)
			f.learned(func(k *known) { k.statuses = true })
			seen = nil
		}
		if seen != nil {
			seen[change.Key] = struct{}{}
		}
		return nil
	})
}

// forgetOthers deletes what a watch that has caught up did not deliver.
func forgetOthers[V any](all map[contracts.DeploymentName]V, seen map[contracts.DeploymentName]struct{}, changed func(contracts.DeploymentName)) {
	for name := range all {
		if _, ok := seen[name]; !ok {
			delete(all, name)
			changed(name)
		}
	}
}

// learned notes that a store is fully known. When all are, everything is shown.
func (f *fleet) learned(mark func(*known)) {
	before := f.known.all()
	mark(&f.known)
	if before || !f.known.all() {
		return
	}
	f.log.Info("the fleet is known and is shown from now on",
		slog.Int("devices", len(f.devices)), slog.Int("deployments", len(f.deployments)))
	now := time.Now()
	f.graceFrom = now
	for id, d := range f.devices {
		f.judge(d, now)
		f.deviceChanged(id)
	}
	for name := range f.deployments {
		f.deploymentChanged(name)
	}
	f.complete()
}

// ready reports whether all of the fleet is known. Nothing is written before.
func (f *fleet) ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known.all()
}

// showDevice returns what is known about a device, false when it is not shown.
func (f *fleet) showDevice(id contracts.DeviceID) (device, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.devices[id]
	if !ok || !d.registered || !f.options.Devices.matches(d.labels()) {
		return device{}, false
	}
	return *d, true
}

// showDeployment returns a stored deployment and its status; each may be absent.
func (f *fleet) showDeployment(name contracts.DeploymentName) (*domain.FleetDeployment, *contracts.DeploymentStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var (
		stored *domain.FleetDeployment
		status *contracts.DeploymentStatus
	)
	if d, ok := f.deployments[name]; ok {
		stored = &d
	}
	if s, ok := f.statuses[name]; ok {
		status = &s
	}
	return stored, status
}

// labels are those that selectors see.
func (d *device) labels() contracts.Labels {
	var reported contracts.Labels
	if d.info != nil {
		reported = d.info.Labels
	}
	return contracts.EffectiveLabels(d.id, d.record.Labels, reported)
}
