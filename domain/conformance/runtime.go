package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// WorkloadRuntimeFixture is a host on which the runtime has nothing yet.
type WorkloadRuntimeFixture struct {
	Runtime domain.WorkloadRuntime
	// Reopen returns another runtime on the same host, as a new agent makes one.
	// The one before it is not used any more: it has ended as its agent did.
	Reopen func(t *testing.T) domain.WorkloadRuntime
	Scores WorkloadScores
	// Kill ends a service's main process by force, from outside the runtime.
	Kill func(t *testing.T, deployment contracts.DeploymentName, service contracts.ServiceReport)
	// Alive reports whether a process is on the host.
	Alive func(t *testing.T, pid int) bool
	// Foreign starts something on the host that is not the runtime's and
	// resembles what is. It returns whether it is still there, untouched.
	Foreign func(t *testing.T) (untouched func(t *testing.T) bool)
	// Unsupported are the subtests that the runtime cannot pass, by name, and why.
	Unsupported map[string]string
}

// WorkloadScores build scores of the runtime's type for the situations of the
// suite.
type WorkloadScores struct {
	Type contracts.ScoreType
	// Running has services that run until they are stopped and end at once when
	// they are. Each has a number; another number is another spec.
	Running func(services map[string]int) contracts.ReconcileScore
	// Ending has one service, "main", that ends with the code once started.
	Ending func(code int, restart contracts.RestartPolicy) contracts.ReconcileScore
	// Talking has one service, "main", that writes "line 1" to "line N" and then
	// "more" five times a second or so, for as long as it runs.
	Talking func(lines int) contracts.ReconcileScore
	// Stubborn has one service, "main", that ignores the stop signal.
	Stubborn func(grace time.Duration) contracts.ReconcileScore
	// Graceful has one service, "main", that does something on its stop signal
	// before it ends; stopped reports whether it did.
	Graceful func(t *testing.T) (score contracts.ReconcileScore, stopped func(t *testing.T) bool)
	// Failing are scores that fail with a reason. Their services are named as in
	// Running, "main".
	Failing map[contracts.Reason]func(t *testing.T) contracts.ReconcileScore
}

// WorkloadRuntime checks an implementation of domain.WorkloadRuntime.
func WorkloadRuntime(t *testing.T, open func(t *testing.T) WorkloadRuntimeFixture) {
	t.Helper()
	kill := named("Kill", func(_ *testing.T, f WorkloadRuntimeFixture) bool { return f.Kill != nil })
	graceful := named("Scores.Graceful", func(_ *testing.T, f WorkloadRuntimeFixture) bool { return f.Scores.Graceful != nil })
	reopen := named("Reopen", func(_ *testing.T, f WorkloadRuntimeFixture) bool { return f.Reopen != nil })
	foreign := named("Foreign", func(_ *testing.T, f WorkloadRuntimeFixture) bool { return f.Foreign != nil })
	failing := named("Scores.Failing", func(_ *testing.T, f WorkloadRuntimeFixture) bool { return len(f.Scores.Failing) > 0 })
	obligations := []obligation[WorkloadRuntimeFixture]{
		{name: "start", check: workloadStarts},
		{name: "unchanged services are left alone", check: workloadIdempotent},
		{name: "change replaces only the changed service", check: workloadChanged},
		{name: "services are added and taken away", check: workloadServices},
		{name: "remove", check: workloadRemoved},
		{name: "remove of nothing", check: workloadRemovedNothing},
		{name: "crash is restarted and counted", check: workloadCrash, needs: kill},
		{name: "crash loop", check: workloadCrashLoop},
		{name: "change ends a crash loop", check: workloadCrashLoopFixed},
		{name: "service that ends well and shall not restart", check: workloadEndsWell},
		{name: "service that ends badly and shall not restart", check: workloadEndsBadly},
		{name: "graceful stop", check: workloadGraceful, needs: graceful},
		{name: "kill after the grace period", check: workloadStubborn},
		{name: "remove that is cancelled can be called again", check: workloadRemoveCancelled},
		{name: "logs tail", check: workloadLogsTail},
		{name: "logs follow until closed", check: workloadLogsFollow},
		{name: "logs of what is not there", check: workloadLogsUnknown},
		{name: "watch tells of a crash", check: workloadWatch, needs: kill},
		{name: "new runtime adopts without a restart", check: workloadAdopted, needs: reopen},
		{name: "new runtime removes what it adopted", check: workloadAdoptedRemoved, needs: reopen},
		{name: "foreign workloads are untouched", check: workloadForeign, needs: foreign},
		{name: "two deployments are independent", check: workloadIndependent},
		{name: "score that is not valid", check: workloadInvalid},
		{name: "type that is not supported", check: workloadUnsupported},
		{name: "failures have their reason and can be fixed", check: workloadFailures, needs: failing},
	}
	names := map[string]bool{}
	for i, o := range obligations {
		names[o.name] = true
		obligations[i].needs = func(t *testing.T, f WorkloadRuntimeFixture) string {
			for name := range f.Unsupported {
				require.True(t, names[name], "the suite has no subtest %q", name)
			}
			if why, ok := f.Unsupported[o.name]; ok || o.needs == nil {
				return why
			}
			return o.needs(t, f)
		}
	}
	checkAll(t, open, obligations)
}

func quietly(contracts.Reason, string) {}

func workload(name contracts.DeploymentName, generation uint64, score contracts.ReconcileScore) domain.Workload {
	return domain.Workload{Name: name, Generation: generation, Score: score}
}

func applied(t *testing.T, runtime domain.WorkloadRuntime, w domain.Workload) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	require.NoError(t, runtime.Apply(ctx, w, quietly))
}

// status returns the workload, false when it is not on the host.
func status(t *testing.T, runtime domain.WorkloadRuntime, name contracts.DeploymentName) (domain.WorkloadStatus, bool) {
	t.Helper()
	all, err := runtime.List(t.Context())
	require.NoError(t, err)
	require.True(t, slices.IsSortedFunc(all, func(a, b domain.WorkloadStatus) int {
		return strings.Compare(string(a.Name), string(b.Name))
	}), "workloads are sorted by name")
	i := slices.IndexFunc(all, func(s domain.WorkloadStatus) bool { return s.Name == name })
	if i < 0 {
		return domain.WorkloadStatus{}, false
	}
	require.True(t, slices.IsSortedFunc(all[i].Services, func(a, b contracts.ServiceReport) int {
		return strings.Compare(a.Name, b.Name)
	}), "services are sorted by name")
	return all[i], true
}

// awaitStatus waits for a status that matches, and returns it.
func awaitStatus(t *testing.T, runtime domain.WorkloadRuntime, name contracts.DeploymentName, what string, match func(domain.WorkloadStatus) bool) domain.WorkloadStatus {
	t.Helper()
	var last domain.WorkloadStatus
	deadline := time.Now().Add(2 * patience)
	tick := time.NewTicker(10 * pollEvery)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		var there bool
		if last, there = status(t, runtime, name); there && match(last) {
			return last
		}
		<-tick.C
	}
	require.FailNow(t, "workload "+string(name)+" must come to be "+what, "it is %+v", last)
	return last
}

// awaitRunning waits until all the named services run, and returns them by
// name.
func awaitRunning(t *testing.T, runtime domain.WorkloadRuntime, name contracts.DeploymentName, services ...string) map[string]contracts.ServiceReport {
	t.Helper()
	got := awaitStatus(t, runtime, name, "running", func(s domain.WorkloadStatus) bool {
		phase, _ := s.Assess()
		return phase == contracts.PhaseRunning && len(s.Services) == len(services)
	})
	byName := map[string]contracts.ServiceReport{}
	for _, service := range got.Services {
		require.Positive(t, service.PID, "a running service has a process")
		byName[service.Name] = service
	}
	for _, service := range services {
		require.Contains(t, byName, service)
	}
	return byName
}

// gone waits until a process is not on the host any more.
func gone(t *testing.T, f WorkloadRuntimeFixture, pid int) {
	t.Helper()
	if f.Alive == nil {
		return
	}
	eventually(t, func() bool { return !f.Alive(t, pid) }, "process %d must end", pid)
}

func workloadStarts(t *testing.T, f WorkloadRuntimeFixture) {
	require.NotEmpty(t, f.Runtime.Name())
	require.True(t, f.Runtime.Supports(f.Scores.Type))
	all, err := f.Runtime.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
	applied(t, f.Runtime, workload("web", 3, f.Scores.Running(map[string]int{"db": 1, "app": 1})))
	services := awaitRunning(t, f.Runtime, "web", "app", "db")
	got, _ := status(t, f.Runtime, "web")
	require.EqualValues(t, 3, got.Generation)
	require.Empty(t, got.Reason)
	for _, service := range services {
		require.Equal(t, contracts.ServiceRunning, service.State)
		require.Zero(t, service.Restarts)
		require.True(t, f.Alive == nil || f.Alive(t, service.PID))
	}
}

func workloadIdempotent(t *testing.T, f WorkloadRuntimeFixture) {
	score := f.Scores.Running(map[string]int{"app": 1, "db": 1})
	applied(t, f.Runtime, workload("web", 1, score))
	before := awaitRunning(t, f.Runtime, "web", "app", "db")
	for generation := uint64(1); generation <= 3; generation++ {
		applied(t, f.Runtime, workload("web", generation, score))
		require.Equal(t, before, awaitRunning(t, f.Runtime, "web", "app", "db"))
		got, _ := status(t, f.Runtime, "web")
		require.Equal(t, generation, got.Generation)
	}
}

func workloadChanged(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"app": 1, "db": 1})))
	before := awaitRunning(t, f.Runtime, "web", "app", "db")
	applied(t, f.Runtime, workload("web", 2, f.Scores.Running(map[string]int{"app": 2, "db": 1})))
	after := awaitRunning(t, f.Runtime, "web", "app", "db")
	require.Equal(t, before["db"], after["db"], "what has not changed is left alone")
	require.NotEqual(t, before["app"].PID, after["app"].PID)
	require.Zero(t, after["app"].Restarts, "restarts count since the spec changed")
	gone(t, f, before["app"].PID)
}

func workloadServices(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"app": 1})))
	before := awaitRunning(t, f.Runtime, "web", "app")
	applied(t, f.Runtime, workload("web", 2, f.Scores.Running(map[string]int{"app": 1, "db": 1})))
	both := awaitRunning(t, f.Runtime, "web", "app", "db")
	require.Equal(t, before["app"].PID, both["app"].PID)
	applied(t, f.Runtime, workload("web", 3, f.Scores.Running(map[string]int{"db": 1})))
	after := awaitRunning(t, f.Runtime, "web", "db")
	require.Equal(t, both["db"].PID, after["db"].PID)
	gone(t, f, both["app"].PID)
}

func workloadRemoved(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"app": 1, "db": 1})))
	services := awaitRunning(t, f.Runtime, "web", "app", "db")
	require.NoError(t, f.Runtime.Remove(t.Context(), "web"))
	all, err := f.Runtime.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
	for _, service := range services {
		gone(t, f, service.PID)
	}
	require.NoError(t, f.Runtime.Remove(t.Context(), "web"))
	applied(t, f.Runtime, workload("web", 2, f.Scores.Running(map[string]int{"app": 1})))
	awaitRunning(t, f.Runtime, "web", "app")
}

func workloadRemovedNothing(t *testing.T, f WorkloadRuntimeFixture) {
	require.NoError(t, f.Runtime.Remove(t.Context(), "web"))
}

func workloadCrash(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"app": 1, "db": 1})))
	before := awaitRunning(t, f.Runtime, "web", "app", "db")
	f.Kill(t, "web", before["app"])
	awaitStatus(t, f.Runtime, "web", "restarted", func(s domain.WorkloadStatus) bool {
		app := s.Services[0]
		return app.State == contracts.ServiceRunning && app.Restarts == 1 && app.PID > 0 && app.PID != before["app"].PID
	})
	after := awaitRunning(t, f.Runtime, "web", "app", "db")
	require.Equal(t, before["db"], after["db"])
	require.NotNil(t, after["app"].ExitCode, "how it ended is reported")
	require.NotZero(t, *after["app"].ExitCode)
}

func workloadCrashLoop(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Ending(3, contracts.RestartAlways)))
	got := awaitStatus(t, f.Runtime, "web", "in a crash loop", func(s domain.WorkloadStatus) bool {
		return s.Reason == contracts.ReasonCrashLoop
	})
	require.NotEmpty(t, got.Message)
	require.Len(t, got.Services, 1)
	require.Positive(t, got.Services[0].Restarts)
	require.NotNil(t, got.Services[0].ExitCode)
	require.Equal(t, 3, *got.Services[0].ExitCode)
}

func workloadCrashLoopFixed(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Ending(3, contracts.RestartAlways)))
	awaitStatus(t, f.Runtime, "web", "in a crash loop", func(s domain.WorkloadStatus) bool {
		return s.Reason == contracts.ReasonCrashLoop
	})
	applied(t, f.Runtime, workload("web", 2, f.Scores.Running(map[string]int{"main": 1})))
	require.Zero(t, awaitRunning(t, f.Runtime, "web", "main")["main"].Restarts)
}

func workloadEndsWell(t *testing.T, f WorkloadRuntimeFixture) {
	for _, restart := range []contracts.RestartPolicy{contracts.RestartNever, contracts.RestartOnFailure} {
		name := contracts.DeploymentName("job-" + strings.ToLower(string(restart)))
		applied(t, f.Runtime, workload(name, 1, f.Scores.Ending(0, restart)))
		got := awaitStatus(t, f.Runtime, name, "done", func(s domain.WorkloadStatus) bool {
			return s.Services[0].State == contracts.ServiceExited
		})
		require.Empty(t, got.Reason)
		require.Zero(t, got.Services[0].Restarts)
		require.Zero(t, got.Services[0].PID)
		phase, _ := got.Assess()
		require.Equal(t, contracts.PhaseRunning, phase)
		applied(t, f.Runtime, workload(name, 1, f.Scores.Ending(0, restart)))
		again, _ := status(t, f.Runtime, name)
		require.Equal(t, got, again, "what is done is not done again")
	}
}

func workloadEndsBadly(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("job", 1, f.Scores.Ending(3, contracts.RestartNever)))
	got := awaitStatus(t, f.Runtime, "job", "ended", func(s domain.WorkloadStatus) bool {
		return s.Services[0].State == contracts.ServiceExited
	})
	require.Equal(t, contracts.ReasonExited, got.Reason)
	require.NotEmpty(t, got.Message)
	require.Equal(t, 3, *got.Services[0].ExitCode)
	phase, _ := got.Assess()
	require.Equal(t, contracts.PhaseFailed, phase)
}

func workloadGraceful(t *testing.T, f WorkloadRuntimeFixture) {
	score, stopped := f.Scores.Graceful(t)
	applied(t, f.Runtime, workload("web", 1, score))
	before := awaitRunning(t, f.Runtime, "web", "main")
	require.False(t, stopped(t))
	require.NoError(t, f.Runtime.Remove(t.Context(), "web"))
	require.True(t, stopped(t), "the service must get its stop signal")
	gone(t, f, before["main"].PID)
}

func workloadStubborn(t *testing.T, f WorkloadRuntimeFixture) {
	const grace = time.Second
	applied(t, f.Runtime, workload("web", 1, f.Scores.Stubborn(grace)))
	before := awaitRunning(t, f.Runtime, "web", "main")
	began := time.Now()
	require.NoError(t, f.Runtime.Remove(t.Context(), "web"))
	require.GreaterOrEqual(t, time.Since(began), grace-grace/10, "it has its grace period")
	require.Less(t, time.Since(began), grace+patience)
	gone(t, f, before["main"].PID)
	_, there := status(t, f.Runtime, "web")
	require.False(t, there)
}

func workloadRemoveCancelled(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Stubborn(2*time.Second)))
	before := awaitRunning(t, f.Runtime, "web", "main")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Error(t, f.Runtime.Remove(ctx, "web"))
	_, there := status(t, f.Runtime, "web")
	require.True(t, there, "what is not removed yet is listed")
	require.NoError(t, f.Runtime.Remove(t.Context(), "web"))
	gone(t, f, before["main"].PID)
}

func workloadLogsTail(t *testing.T, f WorkloadRuntimeFixture) {
	const lines = 20
	applied(t, f.Runtime, workload("web", 1, f.Scores.Talking(lines)))
	read := func(query domain.LogQuery) []string {
		log, err := f.Runtime.Logs(t.Context(), query)
		require.NoError(t, err)
		defer func() { assert.NoError(t, log.Close()) }()
		text, err := io.ReadAll(log)
		require.NoError(t, err)
		return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	}
	query := domain.LogQuery{Deployment: "web", Service: "main", Tail: -1}
	eventually(t, func() bool { return len(read(query)) > lines }, "the service must have written")
	all := read(query)
	for n := range lines {
		require.Equal(t, fmt.Sprintf("line %d", n+1), all[n])
	}
	require.Equal(t, "more", all[lines])
	tail := read(domain.LogQuery{Deployment: "web", Tail: 3})
	require.Len(t, tail, 3)
	for _, line := range tail {
		require.Contains(t, append([]string{"more"}, all[lines-3:lines]...), line)
	}
	require.Equal(t, []string{""}, read(domain.LogQuery{Deployment: "web", Service: "main", Tail: 0}), "no line at all")
}

func workloadLogsFollow(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Talking(2)))
	log, err := f.Runtime.Logs(t.Context(), domain.LogQuery{Deployment: "web", Service: "main", Tail: -1, Follow: true})
	require.NoError(t, err)
	lines := make(chan string)
	reading := start(t, func(ctx context.Context) error {
		defer close(lines)
		scanner := bufio.NewScanner(log)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	})
	for _, want := range []string{"line 1", "line 2", "more", "more"} {
		select {
		case line := <-lines:
			require.Equal(t, want, line)
		case <-time.After(patience):
			require.FailNow(t, "the log must go on", "%q is missing", want)
		}
	}
	require.NoError(t, log.Close())
	for range lines {
		continue // what was read before the end
	}
	require.NoError(t, reading.wait(t), "closing ends a blocked read")
}

func workloadLogsUnknown(t *testing.T, f WorkloadRuntimeFixture) {
	_, err := f.Runtime.Logs(t.Context(), domain.LogQuery{Deployment: "web", Service: "app"})
	require.ErrorIs(t, err, domain.ErrNotFound)
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"app": 1, "db": 1})))
	_, err = f.Runtime.Logs(t.Context(), domain.LogQuery{Deployment: "web", Service: "cache"})
	require.ErrorIs(t, err, domain.ErrNotFound)
	_, err = f.Runtime.Logs(t.Context(), domain.LogQuery{Deployment: "web"})
	require.ErrorIs(t, err, domain.ErrInvalid, "one of two services must be named")
}

func workloadWatch(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"app": 1})))
	before := awaitRunning(t, f.Runtime, "web", "app")
	names := make(chan contracts.DeploymentName, 100)
	watching := start(t, func(ctx context.Context) error {
		return f.Runtime.Watch(ctx, func(name contracts.DeploymentName) {
			select {
			case names <- name:
			default:
			}
		})
	})
	// A change before the watch has begun may be missed: the service is killed
	// until one is heard of.
	eventually(t, func() bool {
		select {
		case name := <-names:
			return name == "web"
		default:
		}
		current, _ := status(t, f.Runtime, "web")
		if service := current.Services[0]; service.PID > 0 {
			f.Kill(t, "web", service)
		}
		return false
	}, "the watch must tell of the crash of process %d", before["app"].PID)
	require.NoError(t, watching.end(t))
}

func workloadAdopted(t *testing.T, f WorkloadRuntimeFixture) {
	score := f.Scores.Running(map[string]int{"app": 1, "db": 1})
	applied(t, f.Runtime, workload("web", 5, score))
	before := awaitRunning(t, f.Runtime, "web", "app", "db")
	runtime := f.Reopen(t)
	require.Equal(t, before, awaitRunning(t, runtime, "web", "app", "db"))
	got, _ := status(t, runtime, "web")
	require.EqualValues(t, 5, got.Generation)
	applied(t, runtime, workload("web", 5, score))
	require.Equal(t, before, awaitRunning(t, runtime, "web", "app", "db"))
	applied(t, runtime, workload("web", 6, f.Scores.Running(map[string]int{"app": 2, "db": 1})))
	after := awaitRunning(t, runtime, "web", "app", "db")
	require.Equal(t, before["db"].PID, after["db"].PID)
	require.NotEqual(t, before["app"].PID, after["app"].PID)
	if f.Kill != nil {
		f.Kill(t, "web", after["db"])
		awaitStatus(t, runtime, "web", "restarted", func(s domain.WorkloadStatus) bool {
			db := s.Services[1]
			return db.State == contracts.ServiceRunning && db.PID > 0 && db.PID != after["db"].PID
		})
	}
}

func workloadAdoptedRemoved(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"app": 1})))
	before := awaitRunning(t, f.Runtime, "web", "app")
	runtime := f.Reopen(t)
	require.NoError(t, runtime.Remove(t.Context(), "web"))
	_, there := status(t, runtime, "web")
	require.False(t, there)
	gone(t, f, before["app"].PID)
}

func workloadForeign(t *testing.T, f WorkloadRuntimeFixture) {
	untouched := f.Foreign(t)
	require.True(t, untouched(t))
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"app": 1})))
	awaitRunning(t, f.Runtime, "web", "app")
	all, err := f.Runtime.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	applied(t, f.Runtime, workload("web", 2, f.Scores.Running(map[string]int{"app": 2})))
	awaitRunning(t, f.Runtime, "web", "app")
	require.NoError(t, f.Runtime.Remove(t.Context(), "web"))
	require.True(t, untouched(t))
}

func workloadIndependent(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("one", 1, f.Scores.Running(map[string]int{"app": 1})))
	before := awaitRunning(t, f.Runtime, "one", "app")
	// The other has a service of the same name, and a name that begins alike.
	applied(t, f.Runtime, workload("one-more", 1, f.Scores.Running(map[string]int{"app": 1})))
	awaitRunning(t, f.Runtime, "one-more", "app")
	var failed *domain.WorkloadError
	err := f.Runtime.Apply(t.Context(), workload("broken", 1, invalidScore(f)), quietly)
	require.ErrorAs(t, err, &failed)
	applied(t, f.Runtime, workload("one-more", 2, f.Scores.Running(map[string]int{"app": 2})))
	awaitRunning(t, f.Runtime, "one-more", "app")
	require.NoError(t, f.Runtime.Remove(t.Context(), "one-more"))
	require.Equal(t, before, awaitRunning(t, f.Runtime, "one", "app"))
}

func invalidScore(f WorkloadRuntimeFixture) contracts.ReconcileScore {
	return contracts.ReconcileScore{Type: f.Scores.Type, Data: json.RawMessage(`{"services":[]}`)}
}

func workloadInvalid(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"app": 1})))
	before := awaitRunning(t, f.Runtime, "web", "app")
	requireFailure(t, f.Runtime.Apply(t.Context(), workload("web", 2, invalidScore(f)), quietly), contracts.ReasonInvalidScore)
	require.Equal(t, before, awaitRunning(t, f.Runtime, "web", "app"), "what runs goes on")
}

func workloadUnsupported(t *testing.T, f WorkloadRuntimeFixture) {
	require.False(t, f.Runtime.Supports("FutureV9"))
	score := contracts.ReconcileScore{Type: "FutureV9", Data: json.RawMessage(`{}`)}
	requireFailure(t, f.Runtime.Apply(t.Context(), workload("web", 1, score), quietly), contracts.ReasonUnsupportedScore)
}

func requireFailure(t *testing.T, err error, reason contracts.Reason) {
	t.Helper()
	var failed *domain.WorkloadError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, reason, failed.Reason)
	require.NotEmpty(t, failed.Message)
}

func workloadFailures(t *testing.T, f WorkloadRuntimeFixture) {
	applied(t, f.Runtime, workload("other", 1, f.Scores.Running(map[string]int{"main": 1})))
	other := awaitRunning(t, f.Runtime, "other", "main")
	for _, reason := range slices.Sorted(maps.Keys(f.Scores.Failing)) {
		t.Run(string(reason), func(t *testing.T) {
			workloadFails(t, f, reason)
			require.Equal(t, other, awaitRunning(t, f.Runtime, "other", "main"), "the other deployment is untouched")
		})
	}
}

func workloadFails(t *testing.T, f WorkloadRuntimeFixture, reason contracts.Reason) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	score := f.Scores.Failing[reason](t)
	if err := f.Runtime.Apply(ctx, workload("web", 1, score), quietly); err != nil {
		requireFailure(t, err, reason)
	} else {
		// It shows only once the service was started.
		got := awaitStatus(t, f.Runtime, "web", "failed with "+string(reason), func(s domain.WorkloadStatus) bool { return s.Reason == reason })
		require.NotEmpty(t, got.Message)
	}
	applied(t, f.Runtime, workload("web", 2, f.Scores.Running(map[string]int{"main": 1})))
	awaitRunning(t, f.Runtime, "web", "main")
	require.NoError(t, f.Runtime.Remove(t.Context(), "web"))
}
