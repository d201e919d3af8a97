package podman

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// exitKilled is the exit code of a process that SIGKILL ended.
const exitKilled = 137

// List implements domain.WorkloadRuntime. A service that was applied and whose
// container is gone is listed as waiting. ErrUnavailable, inside a
// *domain.WorkloadError, when the engine does not answer.
func (r *Runtime) List(ctx context.Context) ([]domain.WorkloadStatus, error) {
	containers, err := r.containers(ctx, r.ours())
	if err != nil {
		return nil, failure(contracts.ReasonRuntimeUnavailable, "cannot list containers", err, nil)
	}
	r.crashes.keep(containers)
	groups := map[contracts.DeploymentName][]container{}
	for _, c := range containers {
		groups[c.deployment()] = append(groups[c.deployment()], c)
	}
	r.state.read(func(rec *record) {
		for name := range rec.Deployments {
			groups[name] = slices.Clip(groups[name]) // present, if empty
		}
	})
	all := make([]domain.WorkloadStatus, 0, len(groups))
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		all = append(all, r.status(ctx, name, groups[name]))
	}
	return all, nil
}

func (r *Runtime) status(ctx context.Context, name contracts.DeploymentName, containers []container) domain.WorkloadStatus {
	status := domain.WorkloadStatus{Name: name, Generation: r.state.generation(name)}
	reports := map[string]contracts.ServiceReport{}
	r.state.read(func(rec *record) {
		if deployment := rec.Deployments[name]; deployment != nil {
			for service, entry := range deployment.Services {
				reports[service] = contracts.ServiceReport{Name: service, Image: entry.Image, State: contracts.ServiceWaiting}
			}
		}
	})
	// One that runs says more than one that waits to take its place.
	slices.SortStableFunc(containers, func(a, b container) int {
		return a.State.StartedAt.Compare(b.State.StartedAt)
	})
	found := map[string]problem{}
	for _, c := range containers {
		if c.kind() != kindService {
			continue
		}
		if r.state.generation(name) == 0 {
			status.Generation = max(status.Generation, c.generation())
		}
		reports[c.service()], found[c.service()] = r.judge(ctx, c)
	}
	for _, service := range slices.Sorted(maps.Keys(reports)) {
		status.Services = append(status.Services, reports[service])
		if problem := found[service]; problem.reason != "" {
			status.Reason = cmp.Or(status.Reason, problem.reason)
			if status.Message != "" {
				status.Message += "; "
			}
			status.Message += problem.message
		}
	}
	if status.Reason == "" {
		r.lastFailure(&status)
	}
	return status
}

// lastFailure tells why the last Apply failed, as long as something of it is
// missing and nothing else says why.
func (r *Runtime) lastFailure(status *domain.WorkloadStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if failure := r.failures[status.Name]; failure != nil {
		status.Reason, status.Message = failure.Reason, failure.Message
	}
}

func (c container) generation() uint64 {
	generation, _ := strconv.ParseUint(c.Config.Labels[labelGeneration], 10, 64)
	return generation
}

// problem is what is wrong with one service; zero when nothing is.
type problem struct {
	reason  contracts.Reason
	message string
}

// judge turns a container into what is reported of it.
func (r *Runtime) judge(ctx context.Context, c container) (contracts.ServiceReport, problem) {
	report := contracts.ServiceReport{
		Name: c.service(), Image: c.Config.Labels[labelImage], ImageDigest: c.Config.Labels[labelDigest],
		Restarts: r.restarts(c), PID: c.State.Pid,
	}
	looping := r.crashes.observe(c, report.Restarts)
	report.ExitCode = r.lastExit(ctx, c, report.Restarts)
	what := "service " + report.Name
	switch {
	case c.State.Status == "removing", !c.State.Started():
		report.State = contracts.ServiceWaiting
		return report, neverStarted(c, what)
	case c.State.Running() && c.State.Health != nil && c.State.Health.Status == "unhealthy":
		report.State = contracts.ServiceUnhealthy
		return report, problem{contracts.ReasonUnhealthy, what + ": its health check fails"}
	case c.State.Running() && !looping:
		report.State = contracts.ServiceRunning
		return report, problem{}
	case c.State.Running(): // between two crashes
		report.State = contracts.ServiceRestarting
	case r.restarting(c):
		report.State = contracts.ServiceRestarting
	default:
		report.State = contracts.ServiceExited
	}
	if report.State == contracts.ServiceExited && r.cutOff(c) {
		return report, problem{contracts.ReasonExited, what + " ended with the device and shall not be restarted"}
	}
	return report, ended(report, outOfMemory(c.Container), looping, what)
}

// lastExit returns the exit code of a container's last end, nil when it has
// none or is not known. Of one that runs again only events tell it.
func (r *Runtime) lastExit(ctx context.Context, c container, restarts uint64) *int {
	if !c.State.Running() && !r.cutOff(c) && c.State.Started() {
		return &c.State.ExitCode
	}
	if !c.State.Started() || restarts == 0 {
		return nil
	}
	if known, ok := r.crashes.exitCode(c.ID, restarts); ok {
		return known
	}
	code, found, err := r.client.LastExit(ctx, c.ID, c.State.FinishedAt.Add(-time.Second))
	if err != nil || !found {
		return nil
	}
	r.crashes.ended(c.ID, restarts, code)
	return &code
}

// cutOff reports whether a container ended with the host. Podman then tells a
// good end, but not when it was: what it tells is the end of the run before.
func (r *Runtime) cutOff(c container) bool {
	const clockStep = 50 * time.Millisecond // ends are written with a coarse clock
	if c.State.Running() || !c.State.Started() || !c.State.FinishedAt.Before(c.State.StartedAt.Add(-clockStep)) {
		return false
	}
	entry := r.state.service(c.deployment(), c.service())
	return entry.Container != c.ID || entry.Boot != r.boot
}

// bootID identifies the boot of the host; empty where the kernel does not tell.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// ended says what is wrong with a service that does not run.
func ended(report contracts.ServiceReport, memory, looping bool, what string) problem {
	again := report.State == contracts.ServiceRestarting
	code := 0
	if report.ExitCode != nil {
		code = *report.ExitCode
	}
	switch {
	case memory:
		return problem{contracts.ReasonOutOfMemory, what + " was killed: it exceeded its memory limit"}
	case again && looping:
		return problem{contracts.ReasonCrashLoop, fmt.Sprintf("%s ends again and again, %d restarts so far, the last exit code was %d; its log says more", what, report.Restarts, code)}
	case again, code == 0:
		return problem{}
	default:
		return problem{contracts.ReasonExited, fmt.Sprintf("%s ended with exit code %d and shall not be restarted; its log says more", what, code)}
	}
}

// restarting reports whether an ended service shall run again: by the engine,
// or by the next Apply.
func (r *Runtime) restarting(c container) bool {
	switch contracts.RestartPolicy(c.HostConfig.RestartPolicy.Name) {
	case contracts.RestartAlways:
		return true
	case contracts.RestartOnFailure:
		return c.State.ExitCode != 0 || r.cutOff(c)
	default:
		return c.State.Status == "restarting"
	}
}

// neverStarted says why, when the engine left a word about it.
func neverStarted(c container, what string) problem {
	if c.State.Error == "" {
		return problem{}
	}
	otherwise := contracts.ReasonStartFailed
	if c.State.ExitCode == exitNotFound {
		otherwise = contracts.ReasonCommandNotFound
	}
	told := failure(otherwise, "cannot start "+what, &engine.Error{Message: c.State.Error}, c.env())
	return problem{told.Reason, told.Message}
}

// outOfMemory reports whether a container ended for its memory limit. Docker
// and Podman with cgroups v2 say so; elsewhere a SIGKILL under a limit, which
// was not ours because we remove what we kill, is taken for it.
func outOfMemory(c engine.Container) bool {
	if c.State.Running() {
		return false
	}
	return c.State.OOMKilled || c.State.ExitCode == exitKilled && c.HostConfig.Memory > 0
}

// restarts are all since the container was made.
func (r *Runtime) restarts(c container) uint64 {
	entry := r.state.service(c.deployment(), c.service())
	if entry.Container != c.ID {
		return c.RestartCount
	}
	return entry.Restarts + c.RestartCount
}

// env is the environment by name; its values must not show in messages.
func (c container) env() map[string]string {
	env := make(map[string]string, len(c.Config.Env))
	for i, variable := range c.Config.Env {
		_, env[strconv.Itoa(i)], _ = strings.Cut(variable, "=")
	}
	return env
}
