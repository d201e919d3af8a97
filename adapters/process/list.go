package process

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// List returns what runs, looking at each process. Reason and Message are those
// of the service whose trouble weighs most.
func (r *Runtime) List(ctx context.Context) ([]domain.WorkloadStatus, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type entry struct {
		status   domain.WorkloadStatus
		services []*service
	}
	var entries []entry
	r.mu.Lock()
	for name, d := range r.deployments {
		entries = append(entries, entry{
			status:   domain.WorkloadStatus{Name: name, Generation: d.generation},
			services: slices.Collect(maps.Values(d.services)),
		})
	}
	r.mu.Unlock()
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(string(a.status.Name), string(b.status.Name)) })
	list := make([]domain.WorkloadStatus, len(entries))
	for i, e := range entries {
		slices.SortFunc(e.services, func(a, b *service) int { return strings.Compare(a.name, b.name) })
		for _, s := range e.services {
			// An end that Run has not noticed yet, or that nobody waits for.
			if s.tryLock() {
				s.settle()
				s.unlock()
			}
			report, reason, message := s.report()
			e.status.Services = append(e.status.Services, report)
			if weight(reason) > weight(e.status.Reason) {
				e.status.Reason, e.status.Message = reason, message
			}
		}
		list[i] = e.status
	}
	return list, nil
}

// weight orders reasons: what never ran before what ran.
func weight(reason contracts.Reason) int {
	order := []contracts.Reason{"", contracts.ReasonExited, contracts.ReasonCrashLoop, contracts.ReasonStopFailed}
	if i := slices.Index(order, reason); i >= 0 {
		return i
	}
	return len(order)
}
