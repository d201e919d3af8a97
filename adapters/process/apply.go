package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// plan is what Apply brings one service to.
type plan struct {
	service   *service
	spec      contracts.ProcessService
	hash      string
	lifecycle contracts.Lifecycle
}

// Apply starts, replaces and stops services until they are as declared. A
// service whose start fails does not keep the others from starting; Run tries
// it again with back-off, and so does a further Apply at once. A service that
// is in the pause before a restart, or ended for good, is left alone.
func (r *Runtime) Apply(ctx context.Context, workload domain.Workload, progress domain.Progress) error {
	if progress == nil {
		progress = func(contracts.Reason, string) {}
	}
	plans, err := r.plan(workload)
	if err != nil {
		return err
	}
	var failures failureList
	stopped := r.stopForApply(ctx, workload.Name, plans, progress, &failures)
	for _, p := range plans {
		if !stopped[p.service] || ctx.Err() != nil {
			continue
		}
		if err := p.service.bringUp(ctx, p, progress); err != nil {
			failures.add(err)
		}
	}
	if ctx.Err() == nil {
		failures.add(r.setGeneration(workload.Name, workload.Generation))
	}
	if ctx.Err() != nil {
		failures.add(&domain.WorkloadError{
			Reason: contracts.ReasonStarting, Message: fmt.Sprintf("the start of deployment %q was cancelled", workload.Name), Cause: ctx.Err(),
		})
	}
	return failures.err()
}

// plan decodes the score and makes the deployment known.
func (r *Runtime) plan(workload domain.Workload) ([]plan, error) {
	if err := workload.Name.Validate(); err != nil {
		return nil, &domain.WorkloadError{Reason: contracts.ReasonInvalidScore, Message: "the deployment's name is not valid: " + err.Error(), Cause: domain.WrapError(domain.ErrInvalid, err, "deployment name")}
	}
	if !r.Supports(workload.Score.Type) {
		return nil, &domain.WorkloadError{
			Reason:  contracts.ReasonUnsupportedScore,
			Message: fmt.Sprintf("the process runtime runs %s scores, not %s", contracts.ScoreProcessV0, workload.Score.Type),
			Cause:   domain.ErrUnsupported,
		}
	}
	score, err := workload.Score.ProcessV0()
	if err != nil {
		return nil, &domain.WorkloadError{Reason: contracts.ReasonInvalidScore, Message: "the score's data is not valid: " + err.Error(), Cause: domain.WrapError(domain.ErrInvalid, err, "deployment %q", workload.Name)}
	}
	plans := make([]plan, len(score.Services))
	for i, spec := range score.Services {
		hash, err := hashSpec(spec)
		if err != nil {
			return nil, &domain.WorkloadError{Reason: contracts.ReasonInvalidScore, Message: err.Error(), Cause: err}
		}
		plans[i] = plan{spec: spec, hash: hash, lifecycle: score.Lifecycle}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.deployments[workload.Name]
	if !ok {
		d = &deployment{name: workload.Name, services: map[string]*service{}}
		r.deployments[workload.Name] = d
	}
	for i, spec := range score.Services {
		if d.services[spec.Name] == nil {
			d.services[spec.Name] = r.newService(workload.Name, spec.Name)
		}
		plans[i].service = d.services[spec.Name]
	}
	return plans, nil
}

// stopForApply stops what shall not run as it does, all at once: what is no
// longer declared, and what is declared differently. It returns the services
// that may be started.
func (r *Runtime) stopForApply(ctx context.Context, name contracts.DeploymentName, plans []plan, progress domain.Progress, failures *failureList) map[*service]bool {
	ready := map[*service]bool{}
	extra := map[*service]bool{}
	r.mu.Lock()
	for _, s := range r.deployments[name].services {
		extra[s] = true
	}
	r.mu.Unlock()
	var outdated []*service
	for _, p := range plans {
		delete(extra, p.service)
		if st := p.service.snapshot(); st.record.Hash != "" && (st.record.Hash != p.hash || st.record.Stopping) {
			outdated = append(outdated, p.service)
		} else {
			ready[p.service] = true
		}
	}
	if len(extra)+len(outdated) == 0 {
		return ready
	}
	progress(contracts.ReasonStopping, fmt.Sprintf("stopping %d services that are changed or no longer declared", len(extra)+len(outdated)))
	var wait sync.WaitGroup
	for s := range extra {
		wait.Go(func() { failures.add(r.removeService(ctx, s)) })
	}
	var mu sync.Mutex
	for _, s := range outdated {
		wait.Go(func() {
			if err := s.stopLocked(ctx); err != nil {
				failures.add(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ready[s] = true
		})
	}
	wait.Wait()
	return ready
}

func (s *service) stopLocked(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return cancelled(s.name, err)
	}
	defer s.unlock()
	return s.stop(ctx)
}

// bringUp starts the service unless it is as planned already.
func (s *service) bringUp(ctx context.Context, p plan, progress domain.Progress) error {
	if err := s.lock(ctx); err != nil {
		return cancelled(s.name, err)
	}
	defer s.unlock()
	s.settle()
	st := s.snapshot()
	if st.record.Hash != p.hash || st.record.Stopping {
		st.record = record{Hash: p.hash, Spec: p.spec, Lifecycle: p.lifecycle, NotBefore: nowTicks()}
		st.failed, st.next = nil, time.Time{}
		s.publish(st)
	} else if st.record.Lifecycle.Signal() != p.lifecycle.Signal() || st.record.Lifecycle.GracePeriod() != p.lifecycle.GracePeriod() {
		st.record.Lifecycle = p.lifecycle
		s.store(st)
	}
	if st.record.Process.PID != 0 || !st.record.due() || st.failed == nil && time.Now().Before(st.next) {
		return nil
	}
	progress(contracts.ReasonStarting, fmt.Sprintf("starting service %q", s.name))
	defer s.runtime.wakeRun()
	defer s.wakeSupervisor()
	return s.begin(ctx, st.record.Ended)
}

func (r *Runtime) setGeneration(name contracts.DeploymentName, generation uint64) error {
	r.mu.Lock()
	d := r.deployments[name]
	same := d.generation == generation
	d.generation = generation
	r.mu.Unlock()
	dir := filepath.Join(r.dir, string(name))
	if _, err := os.Stat(filepath.Join(dir, deploymentFile)); same && err == nil {
		return nil
	}
	err := makeDirs(dir)
	if err == nil {
		err = writeRecord(filepath.Join(dir, deploymentFile), deploymentRecord{Generation: generation})
	}
	if err != nil {
		return storageError(string(name), err)
	}
	return nil
}

func cancelled(service string, err error) error {
	return &domain.WorkloadError{Reason: contracts.ReasonStopping, Message: fmt.Sprintf("the wait for service %q was cancelled", service), Cause: err}
}
