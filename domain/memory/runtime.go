package memory

import (
	"cmp"
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Runtime is a host that runs workloads of every score type, without running
// anything. It outlives the agents that use it, as a host does. Services run
// until they are stopped, unless Behave says otherwise; a service that ends is
// started again after a back-off that doubles from 200 ms to 10 s, and three
// ends in a row within 10 s of the start are a crash loop.
type Runtime struct {
	mu         sync.Mutex
	workloads  map[contracts.DeploymentName]*workload
	behaviours map[string]Behaviour
	stops      []Stopped
	pids       int
	// bells ring when a behaviour or a workload changes.
	bells    bells
	watchers map[*watcher[contracts.DeploymentName]]struct{}
}

var _ domain.WorkloadRuntime = (*Runtime)(nil)

type workload struct {
	generation uint64
	lifecycle  contracts.Lifecycle
	services   map[string]*service
}

// NewRuntime returns an empty host.
func NewRuntime() *Runtime {
	return &Runtime{
		workloads:  map[contracts.DeploymentName]*workload{},
		behaviours: map[string]Behaviour{},
		pids:       1000,
		bells:      bells{},
		watchers:   map[*watcher[contracts.DeploymentName]]struct{}{},
	}
}

// Name implements domain.WorkloadRuntime.
func (r *Runtime) Name() string { return "memory" }

// Supports implements domain.WorkloadRuntime.
func (r *Runtime) Supports(score contracts.ScoreType) bool {
	return score == contracts.ScorePodmanV0 || score == contracts.ScoreProcessV0
}

// Apply implements domain.WorkloadRuntime. A service that cannot start does not
// keep the others from starting; the first failure is returned.
func (r *Runtime) Apply(ctx context.Context, want domain.Workload, progress domain.Progress) error {
	if !r.Supports(want.Score.Type) {
		return failure(contracts.ReasonUnsupportedScore, "this runtime does not run scores of type "+string(want.Score.Type), domain.ErrUnsupported)
	}
	wanted, err := declare(want.Score)
	if err != nil {
		return failure(contracts.ReasonInvalidScore, err.Error(), domain.WrapError(domain.ErrInvalid, err, "deployment %q", want.Name))
	}
	w := r.adopt(want, wanted)
	if err := r.runInits(ctx, w, wanted, progress); err != nil {
		return err
	}
	for name, s := range r.services(w) {
		if i := slices.IndexFunc(wanted.services, func(d declaredService) bool { return d.name == name }); i < 0 || wanted.services[i].spec != s.declared.spec {
			if err := r.stop(ctx, want.Name, w, s, progress); err != nil {
				return err
			}
		}
	}
	var first error
	for _, d := range wanted.services {
		if err := r.start(ctx, want.Name, w, d, progress); err != nil {
			if ctx.Err() != nil {
				return err
			}
			first = cmp.Or(first, err)
		}
	}
	return first
}

// adopt returns what the host knows of the workload, made when it is new.
func (r *Runtime) adopt(want domain.Workload, wanted declared) *workload {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance(time.Now())
	w, ok := r.workloads[want.Name]
	if !ok {
		w = &workload{services: map[string]*service{}}
		r.workloads[want.Name] = w
	}
	w.generation, w.lifecycle = want.Generation, wanted.lifecycle
	return w
}

func (r *Runtime) services(w *workload) map[string]*service {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(w.services)
}

// runInits runs the init containers when none of the services stays.
func (r *Runtime) runInits(ctx context.Context, w *workload, wanted declared, progress domain.Progress) error {
	have := r.services(w)
	for _, d := range wanted.services {
		if s, ok := have[d.name]; ok && s.declared.spec == d.spec {
			return nil
		}
	}
	for _, d := range wanted.inits {
		behaviour, err := r.behaviour(ctx, d, progress)
		if err != nil {
			return err
		}
		if behaviour.Exits && behaviour.ExitCode != 0 {
			return failure(contracts.ReasonInitFailed, "init container "+d.name+" ended with an error", nil)
		}
	}
	return nil
}

// start starts the service unless it is there.
func (r *Runtime) start(ctx context.Context, name contracts.DeploymentName, w *workload, d declaredService, progress domain.Progress) error {
	if _, there := r.services(w)[d.name]; there {
		return nil
	}
	behaviour, err := r.behaviour(ctx, d, progress)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &service{declared: d, behaviour: behaviour, log: newServiceLog()}
	s.start(time.Now(), r.nextPID())
	w.services[d.name] = s
	r.changed(name)
	return nil
}

// behaviour returns how the service's program acts, once it lets it start.
func (r *Runtime) behaviour(ctx context.Context, d declaredService, progress domain.Progress) (Behaviour, error) {
	bell := make(chan struct{}, 1)
	r.mu.Lock()
	r.bells.add(bell)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.bells, bell)
	}()
	for {
		r.mu.Lock()
		behaviour := r.behaviours[d.program]
		r.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return Behaviour{}, failure(contracts.ReasonStarting, "service "+d.name+" was not started: "+ctx.Err().Error(), ctx.Err())
		case behaviour.Fail != "":
			return Behaviour{}, failure(behaviour.Fail, "service "+d.name+": "+behaviour.Message, nil)
		case !behaviour.Block:
			return behaviour, nil
		}
		progress(cmp.Or(behaviour.BlockReason, contracts.ReasonStarting), "service "+d.name+": "+behaviour.Message)
		select {
		case <-ctx.Done():
		case <-bell:
		}
	}
}

// stop ends the service and forgets it.
func (r *Runtime) stop(ctx context.Context, name contracts.DeploymentName, w *workload, s *service, progress domain.Progress) error {
	r.mu.Lock()
	r.advance(time.Now())
	running, stubborn, lifecycle := s.running, s.behaviour.IgnoresStop, w.lifecycle
	stopped := Stopped{Deployment: name, Service: s.declared.name, PID: s.pid, Signal: lifecycle.Signal(), Killed: stubborn}
	r.mu.Unlock()
	if running && stubborn {
		progress(contracts.ReasonStopping, "service "+s.declared.name+" is being stopped")
		select {
		case <-ctx.Done():
			return failure(contracts.ReasonStopping, "service "+s.declared.name+" is still being stopped: "+ctx.Err().Error(), ctx.Err())
		case <-time.After(lifecycle.GracePeriod()):
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(w.services, s.declared.name)
	s.log.close()
	if running {
		r.stops = append(r.stops, stopped)
	}
	r.changed(name)
	return nil
}

// Remove implements domain.WorkloadRuntime.
func (r *Runtime) Remove(ctx context.Context, name contracts.DeploymentName) error {
	r.mu.Lock()
	w := r.workloads[name]
	r.mu.Unlock()
	if w == nil {
		return nil
	}
	quiet := func(contracts.Reason, string) {}
	for _, s := range r.services(w) {
		if err := r.stop(ctx, name, w, s, quiet); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.workloads, name)
	r.changed(name)
	return nil
}

// List implements domain.WorkloadRuntime.
func (r *Runtime) List(ctx context.Context) ([]domain.WorkloadStatus, error) {
	if err := ctx.Err(); err != nil {
		return nil, domain.WrapError(domain.ErrUnavailable, err, "the workloads were not listed")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance(time.Now())
	all := make([]domain.WorkloadStatus, 0, len(r.workloads))
	for _, name := range slices.Sorted(maps.Keys(r.workloads)) {
		all = append(all, r.workloads[name].status(name))
	}
	return all, nil
}

func (w *workload) status(name contracts.DeploymentName) domain.WorkloadStatus {
	status := domain.WorkloadStatus{Name: name, Generation: w.generation}
	for _, service := range slices.Sorted(maps.Keys(w.services)) {
		s := w.services[service]
		report := s.report()
		status.Services = append(status.Services, report)
		switch {
		case s.looping():
			status.Reason, status.Message = contracts.ReasonCrashLoop, "service "+service+" ends again and again"
		case report.State == contracts.ServiceExited && *s.exitCode != 0 && status.Reason == "":
			status.Reason, status.Message = contracts.ReasonExited, "service "+service+" ended with an error and shall not be restarted"
		}
	}
	return status
}

// Logs implements domain.WorkloadRuntime. The log ends when ctx does.
func (r *Runtime) Logs(ctx context.Context, query domain.LogQuery) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance(time.Now())
	s, err := r.serviceOf(query.Deployment, query.Service)
	if err != nil {
		return nil, err
	}
	return s.log.open(query, ctx.Done()), nil
}

func failure(reason contracts.Reason, message string, cause error) error {
	return &domain.WorkloadError{Reason: reason, Message: message, Cause: cause}
}
