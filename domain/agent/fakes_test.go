package agent_test

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// quietRuntime never tells of a change.
type quietRuntime struct{ *runtime }

func (quietRuntime) Watch(ctx context.Context, _ func(contracts.DeploymentName)) error {
	<-ctx.Done()
	return nil
}

// slowRuntime takes its time to list.
type slowRuntime struct{ *runtime }

func (r slowRuntime) List(ctx context.Context) ([]domain.WorkloadStatus, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(300 * time.Millisecond):
		return r.runtime.List(ctx)
	}
}

// lyingRuntime says that it removed what it did not.
type lyingRuntime struct{ *runtime }

func (lyingRuntime) Remove(context.Context, contracts.DeploymentName) error { return nil }

// oddRuntime names services as no report can.
type oddRuntime struct{ *runtime }

func (r oddRuntime) List(ctx context.Context) ([]domain.WorkloadStatus, error) {
	statuses, err := r.runtime.List(ctx)
	for i := range statuses {
		for j := range statuses[i].Services {
			statuses[i].Services[j].Name = "NOT A NAME"
		}
	}
	return statuses, err
}

// deafReporter has a connection that takes nothing.
type deafReporter struct {
	domain.ObservedStateReporter
	deaf atomic.Bool
}

func (r *deafReporter) Report(ctx context.Context, report contracts.DeviceReport) error {
	if r.deaf.Load() {
		return domain.Errorf(domain.ErrUnavailable, "deaf")
	}
	return r.ObservedStateReporter.Report(ctx, report)
}

// spyingReporter notes how far each report's sequence is ahead of the disk.
type spyingReporter struct {
	domain.ObservedStateReporter
	store agent.Store
	ahead []uint64
}

func (r *spyingReporter) Report(ctx context.Context, report contracts.DeviceReport) error {
	saved, err := r.store.LoadReport()
	if err != nil {
		return err
	}
	r.ahead = append(r.ahead, report.Sequence-saved.Sequence)
	return r.ObservedStateReporter.Report(ctx, report)
}

// wideRuntime has many services in each workload, with long images.
type wideRuntime struct{ *runtime }

func (r wideRuntime) List(ctx context.Context) ([]domain.WorkloadStatus, error) {
	statuses, err := r.runtime.List(ctx)
	for i := range statuses {
		one := statuses[i].Services
		for len(one) > 0 && len(statuses[i].Services) < 64 {
			service := one[0]
			service.Image = strings.Repeat("x", 200)
			statuses[i].Services = append(statuses[i].Services, service)
		}
	}
	return statuses, err
}
