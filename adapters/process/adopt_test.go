package process

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func (f *fixture) readServiceRecord(service string) record {
	f.t.Helper()
	var kept record
	require.NoError(f.t, readRecord(filepath.Join(f.dir, "web", service, recordFile), &kept))
	return kept
}

func (f *fixture) writeServiceRecord(service string, kept record) {
	f.t.Helper()
	require.NoError(f.t, writeRecord(filepath.Join(f.dir, "web", service, recordFile), kept))
}

func TestKilledAgentsProcessesAreAdopted(t *testing.T) {
	f := newFixture(t)
	data := score(t, 1, shell("a", "while :; do echo tick; sleep 0.05; done"), shell("b", sleeper))
	agent := f.startAgent(string(data))
	require.NoError(t, agent.Process.Kill())
	_ = agent.Wait()

	r, _ := f.run(quick())
	a, b := f.report(r, "web", "a"), f.report(r, "web", "b")
	require.Equal(t, contracts.ServiceRunning, a.State)
	require.Equal(t, contracts.ServiceRunning, b.State)
	require.EqualValues(t, 1, f.status(r, "web").Generation)
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, data), nil))
	require.Equal(t, a, f.report(r, "web", "a"), "neither restarted nor counted")

	size := fileSize(filepath.Join(f.dir, "web", "a", "log"))
	f.eventually(func() bool { return fileSize(filepath.Join(f.dir, "web", "a", "log")) > size }, "its log goes on")

	r.killRecorded(t, "web", "b")
	f.eventually(func() bool {
		report := f.report(r, "web", "b")
		return report.State == contracts.ServiceRunning && report.PID != b.PID
	}, "the end of an adopted process is noticed")
	require.Nil(t, f.report(r, "web", "b").ExitCode, "only a parent learns the exit code")
	require.NoError(t, r.Remove(t.Context(), "web"))
	require.False(t, running(a.PID))
}

func TestProcessesOutliveRun(t *testing.T) {
	f := newFixture(t)
	r, stop := f.run(quick())
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", sleeper), shell("b", sleeper))), nil))
	before := f.status(r, "web")
	stop()
	require.Equal(t, before, f.status(r, "web"))
	r.killRecorded(t, "web", "b")
	r, _ = f.run(quick())
	require.Equal(t, before.Services[0], f.report(r, "web", "a"))
	f.eventually(func() bool {
		b := f.report(r, "web", "b")
		return b.State == contracts.ServiceRunning && b.PID != before.Services[1].PID && b.Restarts == 1
	}, "what ended meanwhile is started again")
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestSomebodyElsesProcessIsNeitherAdoptedNorSignalled(t *testing.T) {
	forge := map[string]func(*identity){
		"reused ID": func(id *identity) { id.Start-- },
		"rebooted":  func(id *identity) { id.Boot = "11111111-2222-3333-4444-555555555555" },
	}
	for name, change := range forge {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			// A stranger that leads a session, as a reused ID well may.
			stranger := exec.Command("/bin/sh", "-c", sleeper)
			stranger.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			require.NoError(t, stranger.Start())
			t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })

			r := f.open(Options{})
			data := score(t, 1, shell("a", sleeper))
			require.NoError(t, r.Apply(t.Context(), workload("web", 1, data), nil))
			r.killRecorded(t, "web", "a")
			f.eventually(func() bool { return f.report(r, "web", "a").PID == 0 }, "it ended")
			id, err := r.host.identify(stranger.Process.Pid)
			require.NoError(t, err)
			change(&id)
			kept := f.readServiceRecord("a")
			kept.Process = id
			f.writeServiceRecord("a", kept)

			r = f.open(Options{})
			require.NotEqual(t, stranger.Process.Pid, f.report(r, "web", "a").PID)
			require.NoError(t, r.Apply(t.Context(), workload("web", 1, data), nil))
			report := f.report(r, "web", "a")
			require.Equal(t, contracts.ServiceRunning, report.State)
			require.NotEqual(t, stranger.Process.Pid, report.PID)
			require.NoError(t, r.Remove(t.Context(), "web"))
			require.True(t, running(stranger.Process.Pid))
		})
	}
}

// The agent may end after the start and before the process is recorded: the
// record is then as it was written before the start.
func TestUnrecordedProcessIsAdoptedByItsMark(t *testing.T) {
	f := newFixture(t)
	r := f.open(Options{})
	data := score(t, 1, shell("a", sleeper))
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, data), nil))
	pid := f.report(r, "web", "a").PID
	kept := f.readServiceRecord("a")
	kept.Process = identity{}
	f.writeServiceRecord("a", kept)

	r, _ = f.run(quick())
	require.Equal(t, pid, f.report(r, "web", "a").PID)
	require.Equal(t, pid, f.readServiceRecord("a").Process.PID)
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, data), nil))
	require.Equal(t, pid, f.report(r, "web", "a").PID)
	require.NoError(t, r.Remove(t.Context(), "web"))
	require.False(t, running(pid))
}

func TestUnrecordedProcessNeverRunsTwice(t *testing.T) {
	damage := map[string]func(f *fixture, path string){
		"record lost": func(f *fixture, path string) { require.NoError(f.t, os.Remove(path)) },
		"record torn": func(f *fixture, path string) { require.NoError(f.t, os.WriteFile(path, []byte(`{"ha`), 0o600)) },
		"of an earlier start": func(f *fixture, _ string) {
			kept := f.readServiceRecord("a")
			kept.Process, kept.NotBefore = identity{}, nowTicks()+ticksPerSecond
			f.writeServiceRecord("a", kept)
		},
	}
	for name, change := range damage {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			r := f.open(Options{})
			data := score(t, 1, shell("a", sleeper))
			require.NoError(t, r.Apply(t.Context(), workload("web", 1, data), nil))
			old := f.report(r, "web", "a").PID
			change(f, filepath.Join(f.dir, "web", "a", recordFile))

			r = f.open(Options{})
			require.NoError(t, r.Apply(t.Context(), workload("web", 1, data), nil))
			report := f.report(r, "web", "a")
			require.Equal(t, contracts.ServiceRunning, report.State)
			require.NotEqual(t, old, report.PID)
			require.False(t, running(old), "the old process is ended before the new one starts")
			require.NoError(t, r.Remove(t.Context(), "web"))
		})
	}
}

func TestOneRuntimeSupervisesADirectory(t *testing.T) {
	f := newFixture(t)
	early := f.open(Options{})
	r, stop := f.run(quick())
	f.eventually(func() bool {
		_, err := New(f.dir, Options{})
		return err != nil
	}, "the directory is taken")
	_, err := New(f.dir, Options{})
	require.ErrorIs(t, err, domain.ErrConflict)
	require.ErrorIs(t, r.Run(t.Context()), domain.ErrConflict)
	stop()
	bounded, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.ErrorIs(t, early.Run(bounded), domain.ErrConflict, "what it read is out of date")
	stop = f.supervise(r)
	stop()
	cancel()
	require.NoError(t, f.open(Options{}).Run(bounded), "ended at once")
}
