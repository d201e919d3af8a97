package process

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nationtech/harmony-fleet/contracts"
)

// killRecorded kills the main process of a service.
func (r *Runtime) killRecorded(t *testing.T, deployment contracts.DeploymentName, name string) {
	t.Helper()
	r.mu.Lock()
	s := r.deployments[deployment].services[name]
	r.mu.Unlock()
	require.NoError(t, syscall.Kill(s.snapshot().record.Process.PID, syscall.SIGKILL))
}

func TestKilledProcessIsStartedAgainAndToldOf(t *testing.T) {
	f := newFixture(t)
	r, _ := f.run(quick())
	ctx, cancel := context.WithCancel(t.Context())
	names := make(chan contracts.DeploymentName, 100)
	watched := make(chan error, 1)
	go func() { watched <- r.Watch(ctx, func(name contracts.DeploymentName) { names <- name }) }()
	f.eventually(func() bool { r.hints.mu.Lock(); defer r.hints.mu.Unlock(); return len(r.hints.watchers) == 1 }, "watching")

	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", sleeper))), nil))
	first := f.report(r, "web", "a").PID
	r.killRecorded(t, "web", "a")
	require.Equal(t, contracts.DeploymentName("web"), <-names)
	var report contracts.ServiceReport
	f.eventually(func() bool {
		report = f.report(r, "web", "a")
		return report.State == contracts.ServiceRunning && report.PID != first
	}, "started again")
	require.EqualValues(t, 1, report.Restarts)
	require.Equal(t, 137, *report.ExitCode)
	_, err := readStat(first)
	require.ErrorIs(t, err, os.ErrNotExist, "no zombie stays")
	cancel()
	require.NoError(t, <-watched)
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestRestartPolicies(t *testing.T) {
	cases := map[string]struct {
		policy   contracts.RestartPolicy
		exit     string
		restarts bool
		code     int
		reason   contracts.Reason
		phase    contracts.Phase
	}{
		"always after success":     {contracts.RestartAlways, "0", true, 0, contracts.ReasonCrashLoop, contracts.PhaseFailed},
		"default after failure":    {"", "3", true, 3, contracts.ReasonCrashLoop, contracts.PhaseFailed},
		"on-failure after failure": {contracts.RestartOnFailure, "4", true, 4, contracts.ReasonCrashLoop, contracts.PhaseFailed},
		"on-failure after success": {contracts.RestartOnFailure, "0", false, 0, "", contracts.PhaseRunning},
		"no after failure":         {contracts.RestartNever, "5", false, 5, contracts.ReasonExited, contracts.PhaseFailed},
		"no after success":         {contracts.RestartNever, "0", false, 0, "", contracts.PhaseRunning},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			options := quick()
			options.BackoffMax = time.Hour
			options.BackoffBase = 20 * time.Millisecond
			r, _ := f.run(options)
			service := shell("a", "exit "+c.exit)
			service.Restart = c.policy
			require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, service)), nil))
			if c.restarts {
				f.eventually(func() bool {
					report := f.report(r, "web", "a")
					return report.Restarts >= 3 && report.State == contracts.ServiceRestarting
				}, "it is started again and again")
			} else {
				f.eventually(func() bool { return f.report(r, "web", "a").State == contracts.ServiceExited }, "it ends for good")
				require.Zero(t, f.report(r, "web", "a").Restarts)
			}
			status := f.status(r, "web")
			require.Equal(t, c.code, *status.Services[0].ExitCode)
			require.Equal(t, c.reason, status.Reason)
			require.Equal(t, c.reason == "", status.Message == "")
			phase, _ := status.Assess()
			require.Equal(t, c.phase, phase)

			before := f.report(r, "web", "a")
			require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, service)), nil))
			if !c.restarts {
				require.Equal(t, before, f.report(r, "web", "a"), "applying again does not start what ended for good")
			}
			require.NoError(t, r.Remove(t.Context(), "web"))
		})
	}
}

func TestFailedRestartIsTriedAgain(t *testing.T) {
	f := newFixture(t)
	r, _ := f.run(quick())
	program := f.dir + "/program"
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"+sleeper+"\n"), 0o700))
	service := contracts.ProcessService{Name: "a", Command: contracts.Command{program}}
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, service)), nil))
	require.NoError(t, os.Rename(program, program+".away"))
	r.killRecorded(t, "web", "a")
	f.eventually(func() bool { return f.status(r, "web").Reason == contracts.ReasonCommandNotFound }, "the reason is named")
	require.Equal(t, contracts.ServiceRestarting, f.report(r, "web", "a").State)
	require.NoError(t, os.Rename(program+".away", program))
	f.eventually(func() bool { return f.report(r, "web", "a").State == contracts.ServiceRunning }, "it starts by itself")
	require.Empty(t, f.status(r, "web").Reason)
	require.EqualValues(t, 1, f.report(r, "web", "a").Restarts)
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestBackoff(t *testing.T) {
	o := Options{}.withDefaults()
	require.Equal(t, time.Second, o.backoff(1))
	require.Equal(t, 2*time.Second, o.backoff(2))
	require.Equal(t, 32*time.Second, o.backoff(6))
	require.Equal(t, time.Minute, o.backoff(7))
	require.Equal(t, time.Minute, o.backoff(1_000_000))

	f := newFixture(t)
	options := quick()
	options.StableAfter = time.Nanosecond
	r, _ := f.run(options)
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", "exit 1"))), nil))
	f.eventually(func() bool { return f.report(r, "web", "a").Restarts >= 3 }, "restarted")
	for _, s := range r.services() {
		require.LessOrEqual(t, s.snapshot().record.Failures, 1, "an end after a stable run begins anew")
	}
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestSupervisionWithoutPIDFD(t *testing.T) {
	f := newFixture(t)
	r := f.open(quick())
	r.host.openPIDFD = func(int, int) (int, error) { return -1, unix.ENOSYS }
	f.supervise(r)
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", sleeper))), nil))
	first := f.report(r, "web", "a").PID
	r.killRecorded(t, "web", "a")
	f.eventually(func() bool {
		report := f.report(r, "web", "a")
		return report.State == contracts.ServiceRunning && report.PID != first
	}, "started again")
	require.NoError(t, r.Remove(t.Context(), "web"))
}
