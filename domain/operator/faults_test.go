package operator_test

import (
	"context"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// faults stands between the operator and the backend: it counts what is
// written and fails what it is told to fail.
type faults struct {
	desired  domain.DesiredStatePublisher
	events   domain.EventLog
	observed domain.ObservedStateConsumer
	devices  domain.DeviceRegistry

	mu         sync.Mutex
	published  []contracts.DeviceID
	statusPuts map[contracts.DeploymentName]int
	// publish fails each document for which it returns an error. store says
	// whether it is stored even so.
	publish func(contracts.DeviceID) (err error, store bool)
	// slow is how long a write takes.
	slow time.Duration
	// remove fails removals.
	remove func() error
	// append fails events.
	append func(context.Context) error
	// holdCaughtUp keeps the caught-up mark of observed state back until closed.
	holdCaughtUp chan struct{}
	// breakWatch ends the registry's watch with ErrUnavailable when closed.
	breakWatch chan struct{}
}

// took returns the devices whose documents were offered since the last call.
func (f *faults) took() []contracts.DeviceID {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.published
	f.published = nil
	return taken
}

func (f *faults) puts(name contracts.DeploymentName) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.statusPuts[name]
}

func (f *faults) set(edit func(*faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f)
}

// wait takes as long as a write does.
func (f *faults) wait(ctx context.Context) {
	f.mu.Lock()
	slow := f.slow
	f.mu.Unlock()
	timer := time.NewTimer(slow)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

type faultyDesired faults

func (f *faultyDesired) Publish(ctx context.Context, documents []domain.DesiredDocument) []domain.PublishResult {
	(*faults)(f).wait(ctx)
	results := make([]domain.PublishResult, len(documents))
	for i, document := range documents {
		f.mu.Lock()
		f.published = append(f.published, document.Device)
		var err error
		store := true
		if f.publish != nil {
			err, store = f.publish(document.Device)
		}
		f.mu.Unlock()
		if store || err == nil {
			results[i] = f.desired.Publish(ctx, documents[i:i+1])[0]
		}
		if err != nil {
			results[i] = domain.PublishResult{Err: err}
		}
	}
	return results
}

func (f *faultyDesired) Get(ctx context.Context, id contracts.DeviceID) (domain.DesiredDocument, error) {
	return f.desired.Get(ctx, id)
}

func (f *faultyDesired) Load(ctx context.Context, handle func(domain.DesiredDocument) error) error {
	return f.desired.Load(ctx, handle)
}

func (f *faultyDesired) Remove(ctx context.Context, id contracts.DeviceID, revision domain.Revision) error {
	(*faults)(f).wait(ctx)
	f.mu.Lock()
	fail := f.remove
	f.mu.Unlock()
	if fail != nil {
		if err := fail(); err != nil {
			return err
		}
	}
	return f.desired.Remove(ctx, id, revision)
}

type faultyEvents faults

func (f *faultyEvents) Append(ctx context.Context, event contracts.Event) error {
	f.mu.Lock()
	fail := f.append
	f.mu.Unlock()
	if fail != nil {
		if err := fail(ctx); err != nil {
			return err
		}
	}
	return f.events.Append(ctx, event)
}

func (f *faultyEvents) Read(ctx context.Context, query domain.EventQuery, handle func(contracts.Event) error) error {
	return f.events.Read(ctx, query, handle)
}

type faultyObserved faults

func (f *faultyObserved) Consume(ctx context.Context, handle func(domain.Observation) error) error {
	return f.observed.Consume(ctx, func(o domain.Observation) error {
		f.mu.Lock()
		hold := f.holdCaughtUp
		f.mu.Unlock()
		if o.CaughtUp && hold != nil {
			select {
			case <-hold:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return handle(o)
	})
}

func (f *faultyObserved) Forget(ctx context.Context, id contracts.DeviceID) error {
	return f.observed.Forget(ctx, id)
}

type faultyRegistry struct {
	domain.DeviceRegistry
	faults *faults
}

func (f *faults) registry() domain.DeviceRegistry {
	return &faultyRegistry{DeviceRegistry: f.devices, faults: f}
}

func (r *faultyRegistry) Watch(ctx context.Context, after domain.Revision, handle func(domain.DeviceChange) error) error {
	r.faults.mu.Lock()
	broken := r.faults.breakWatch
	r.faults.mu.Unlock()
	if broken == nil {
		return r.DeviceRegistry.Watch(ctx, after, handle)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var waiting sync.WaitGroup
	defer waiting.Wait()
	waiting.Go(func() {
		select {
		case <-broken:
			cancel()
		case <-ctx.Done():
		}
	})
	err := r.DeviceRegistry.Watch(ctx, after, handle)
	cancel()
	select {
	case <-broken:
		return domain.Errorf(domain.ErrUnavailable, "some changes were missed")
	default:
		return err
	}
}

type countedStatuses struct {
	domain.DeploymentStatusStore
	faults *faults
}

func (f *faults) statuses(next domain.DeploymentStatusStore) domain.DeploymentStatusStore {
	f.statusPuts = map[contracts.DeploymentName]int{}
	return &countedStatuses{DeploymentStatusStore: next, faults: f}
}

func (s *countedStatuses) Put(ctx context.Context, name contracts.DeploymentName, status contracts.DeploymentStatus) error {
	s.faults.set(func(f *faults) { f.statusPuts[name]++ })
	return s.DeploymentStatusStore.Put(ctx, name, status)
}
