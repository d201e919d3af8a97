// Package live gathers what the commands show from the fleet's watches, once or
// as it changes.
package live

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// tick is how often time alone is looked at: silence makes a device offline.
	tick = time.Second
	// settle is how long changes are gathered before they are shown together.
	settle = 100 * time.Millisecond
	// retryDelay is the pause before a broken watch begins again.
	retryDelay = time.Second
)

// Snapshot is what is known of a fleet. Parts that were not asked for are empty.
type Snapshot struct {
	Devices     map[contracts.DeviceID]domain.FleetDevice
	State       *domain.FleetState
	Deployments map[contracts.DeploymentName]domain.FleetDeployment
	Statuses    map[contracts.DeploymentName]contracts.DeploymentStatus
}

// Parts say what to read.
type Parts struct {
	Devices, State, Deployments, Statuses bool
}

// edit is one step of one watch.
type edit struct {
	apply    func(*Snapshot)
	caughtUp bool
}

// Read returns what is known now. It does not retry.
func Read(ctx context.Context, fleet cli.Fleet, parts Parts) (*Snapshot, error) {
	var found *Snapshot
	err := Watch(ctx, fleet, parts, func(snapshot *Snapshot) error {
		found = snapshot
		return errEnough
	})
	if errors.Is(err, errEnough) {
		return found, nil
	}
	if err == nil {
		err = domain.WrapError(domain.ErrUnavailable, ctx.Err(), "the fleet's state was not read")
	}
	return nil, err
}

// errEnough ends a watch that only wanted what is known now.
var errEnough = errors.New("enough")

// Watch calls handle from one goroutine with everything that is known, then
// after each change and once a second. A watch that breaks after it had caught
// up begins again. It blocks until ctx is cancelled (nil) or handle returns an
// error, which it returns.
func Watch(ctx context.Context, fleet cli.Fleet, parts Parts, handle func(*Snapshot) error) error {
	group, running := errgroup.WithContext(ctx)
	edits := make(chan edit)
	sources := sources(fleet, parts)
	for _, source := range sources {
		group.Go(func() error { return follow(running, source, edits) })
	}
	group.Go(func() error { return gather(running, len(sources), edits, handle) })
	return group.Wait()
}

// gather applies the edits and calls handle when all sources have caught up.
func gather(ctx context.Context, waiting int, edits <-chan edit, handle func(*Snapshot) error) error {
	snapshot := &Snapshot{
		Devices:     map[contracts.DeviceID]domain.FleetDevice{},
		State:       domain.NewFleetState(),
		Deployments: map[contracts.DeploymentName]domain.FleetDeployment{},
		Statuses:    map[contracts.DeploymentName]contracts.DeploymentStatus{},
	}
	timer := time.NewTimer(tick)
	defer timer.Stop()
	pending := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-edits:
			e.apply(snapshot)
			if e.caughtUp {
				waiting--
			}
			switch {
			case e.caughtUp && waiting == 0:
				timer.Reset(0)
			case waiting <= 0 && !pending:
				pending = true
				timer.Reset(settle)
			}
		case <-timer.C:
			pending = false
			timer.Reset(tick)
			if waiting > 0 {
				continue
			}
			if err := handle(snapshot); err != nil {
				return err
			}
		}
	}
}

// source is one watch. It calls send with its steps.
type source struct {
	watch func(ctx context.Context, send func(edit) error) error
	// clear forgets what the watch told before it broke.
	clear func(*Snapshot)
}

// follow runs one source until ctx is cancelled, and again when it breaks.
func follow(ctx context.Context, s source, edits chan<- edit) error {
	caughtUp := false
	send := func(e edit) error {
		if e.caughtUp && caughtUp {
			return nil // only the first time counts
		}
		select {
		case edits <- e:
			caughtUp = caughtUp || e.caughtUp
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	for {
		err := s.watch(ctx, send)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if !caughtUp || !errors.Is(err, domain.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryDelay):
		}
		if err := send(edit{apply: s.clear}); err != nil {
			return err
		}
	}
}

func sources(fleet cli.Fleet, parts Parts) []source {
	var list []source
	if parts.Devices {
		list = append(list, source{
			clear: func(s *Snapshot) { clear(s.Devices) },
			watch: changes(fleet.Devices, func(s *Snapshot) map[contracts.DeviceID]domain.FleetDevice { return s.Devices }),
		})
	}
	if parts.Deployments {
		list = append(list, source{
			clear: func(s *Snapshot) { clear(s.Deployments) },
			watch: changes(fleet.Deployments, func(s *Snapshot) map[contracts.DeploymentName]domain.FleetDeployment { return s.Deployments }),
		})
	}
	if parts.Statuses {
		list = append(list, source{
			clear: func(s *Snapshot) { clear(s.Statuses) },
			watch: changes(fleet.Statuses, func(s *Snapshot) map[contracts.DeploymentName]contracts.DeploymentStatus { return s.Statuses }),
		})
	}
	if parts.State {
		list = append(list, source{
			clear: func(s *Snapshot) { s.State = domain.NewFleetState() },
			watch: func(ctx context.Context, send func(edit) error) error {
				return fleet.Observed.Consume(ctx, func(o domain.Observation) error {
					return send(edit{caughtUp: o.CaughtUp, apply: func(s *Snapshot) { s.State.Observe(o) }})
				})
			},
		})
	}
	return list
}

// watcher is a store that can be watched.
type watcher[K ~string, V any] interface {
	Watch(ctx context.Context, after domain.Revision, handle func(domain.Change[K, V]) error) error
}

// changes keeps one map of the snapshot like the store.
func changes[K ~string, V any](store watcher[K, V], of func(*Snapshot) map[K]V) func(context.Context, func(edit) error) error {
	return func(ctx context.Context, send func(edit) error) error {
		return store.Watch(ctx, 0, func(change domain.Change[K, V]) error {
			return send(edit{caughtUp: change.Kind == domain.ChangeCaughtUp, apply: func(s *Snapshot) {
				switch change.Kind {
				case domain.ChangePut:
					of(s)[change.Key] = change.Value
				case domain.ChangeDeleted:
					delete(of(s), change.Key)
				case domain.ChangeCaughtUp:
				}
			}})
		})
	}
}
