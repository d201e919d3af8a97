package process

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func (f *fixture) readPID(elements ...string) int {
	f.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(f.read(elements...)))
	require.NoError(f.t, err)
	return pid
}

func TestStopSignalsTheWholeGroupFirst(t *testing.T) {
	f := newFixture(t)
	r := f.open(Options{})
	// The child and the main process each note the signal before they end.
	script := `(trap 'echo child >>got; exit 0' USR1; echo >ready-child; while :; do sleep 0.05; done) &
trap 'echo main >>got; wait; echo main-end >>got; cp got ../../got; exit 0' USR1
echo >ready; wait; wait`
	data := strings.Replace(string(score(t, 10, shell("a", script), shell("b", sleeper))), `"lifecycle":{`, `"lifecycle":{"stopSignal":"SIGUSR1",`, 1)
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, []byte(data)), nil))
	f.read("web", "a", "work", "ready")
	f.read("web", "a", "work", "ready-child")
	err := r.Apply(t.Context(), workload("web", 2, score(t, 10, shell("b", sleeper))), nil)
	require.NoError(t, err)
	got := f.read("web", "got")
	require.Contains(t, got, "child\n")
	require.Contains(t, got, "main\n")
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestStopKillsWhatIgnoresTheSignalGrandchildrenIncluded(t *testing.T) {
	f := newFixture(t)
	r, _ := f.run(quick())
	// A grandchild in the group, and one that made a session of its own.
	script := `trap '' TERM
sh -c 'echo $$ >group; while :; do sleep 0.1; done' &
setsid sh -c 'echo $$ >session; while :; do sleep 0.1; done' &
while :; do sleep 0.1; done`
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", script))), nil))
	main := f.report(r, "web", "a").PID
	group, session := f.readPID("web", "a", "work", "group"), f.readPID("web", "a", "work", "session")
	require.True(t, running(group) && running(session))

	before := time.Now()
	require.NoError(t, r.Remove(t.Context(), "web"))
	require.GreaterOrEqual(t, time.Since(before), time.Second, "the grace period was kept")
	require.False(t, running(main) || running(group) || running(session))
}

func TestStopCanBeCancelledAndCalledAgain(t *testing.T) {
	f := newFixture(t)
	r, _ := f.run(quick())
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 2, shell("a", "trap '' TERM; echo >ready; while :; do sleep 0.1; done"))), nil))
	f.read("web", "a", "work", "ready")
	pid := f.report(r, "web", "a").PID
	before := time.Now()
	for attempt := 0; ; attempt++ {
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := r.Remove(short, "web")
		cancel()
		if err == nil {
			require.Positive(t, attempt)
			break
		}
		var failure *domain.WorkloadError
		require.ErrorAs(t, err, &failure)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(before), patience, "each call goes on with the first one's grace period")
	}
	require.False(t, running(pid))
	require.NoDirExists(t, f.dir+"/web")
}

func TestInterruptedStopIsNotUndone(t *testing.T) {
	f := newFixture(t)
	r, stop := f.run(quick())
	data := score(t, 60, shell("a", "trap '' TERM; echo >ready; while :; do sleep 0.1; done"))
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, data), nil))
	f.read("web", "a", "work", "ready")
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.Error(t, r.Remove(short, "web"))
	pid := f.report(r, "web", "a").PID
	stop()

	r, _ = f.run(quick())
	require.Equal(t, pid, f.report(r, "web", "a").PID, "adopted, still to be stopped")
	r.killRecorded(t, "web", "a")
	f.eventually(func() bool { return f.report(r, "web", "a").State == contracts.ServiceExited }, "it is not started again")
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, data), nil))
	require.Equal(t, contracts.ServiceRunning, f.report(r, "web", "a").State, "unless it is applied again")
	f.read("web", "a", "work", "ready")
	r.killRecorded(t, "web", "a")
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestDescendantsOfAnEndedProcessDoNotOutliveIt(t *testing.T) {
	f := newFixture(t)
	r, _ := f.run(quick())
	// The child is in another group of the session and has dropped its mark.
	script := `env -i sh -c 'echo $$ >child; exec sleep 1000' & while [ ! -s child ]; do sleep 0.01; done; exit 3`
	service := shell("a", script)
	service.Restart = contracts.RestartNever
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 5, service)), nil))
	child := f.readPID("web", "a", "work", "child")
	f.eventually(func() bool { return !running(child) }, "the child is stopped")
	require.NoError(t, r.Remove(t.Context(), "web"))
}

// TestRemoveWhoseFilesCannotBeRemoved: somebody has mounted a file system in the
// service's directory, or has made it read-only.
func TestRemoveWhoseFilesCannotBeRemoved(t *testing.T) {
	f := newFixture(t)
	r, _ := f.run(quick())
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("main", "exec sleep 1000"))), func(contracts.Reason, string) {}))
	held := filepath.Join(r.deployments["web"].services["main"].workDir(), "held")
	release := hold(t, held)
	err := r.Remove(t.Context(), "web")
	var failure *domain.WorkloadError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, contracts.ReasonStopFailed, failure.Reason)
	require.Contains(t, failure.Message, held)
	release()
	require.NoError(t, r.Remove(t.Context(), "web"))
	require.NoDirExists(t, held)
}

// hold makes a directory that cannot be removed until release is called.
func hold(t *testing.T, dir string) (release func()) {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o700))
	if os.Geteuid() == 0 {
		require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
		release = sync.OnceFunc(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	} else {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
		require.NoError(t, os.Chmod(dir, 0o500))
		release = sync.OnceFunc(func() { require.NoError(t, os.Chmod(dir, 0o700)) })
	}
	t.Cleanup(release)
	return release
}
