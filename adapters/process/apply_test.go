package process

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestApplyStartsLeavesAloneReplacesAndStops(t *testing.T) {
	f := newFixture(t)
	r, _ := f.run(quick())
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 5, shell("a", sleeper), shell("b", sleeper), shell("c", sleeper))), nil))
	a, b, c := f.report(r, "web", "a").PID, f.report(r, "web", "b").PID, f.report(r, "web", "c").PID
	require.True(t, running(a) && running(b) && running(c))

	var reasons []contracts.Reason
	changed := shell("b", "exec sleep 2000")
	require.NoError(t, r.Apply(t.Context(), workload("web", 2, score(t, 5, shell("a", sleeper), changed, shell("d", sleeper))),
		func(reason contracts.Reason, _ string) { reasons = append(reasons, reason) }))
	status := f.status(r, "web")
	require.EqualValues(t, 2, status.Generation)
	require.Len(t, status.Services, 3)
	require.Equal(t, a, status.Services[0].PID, "an unchanged service is left alone")
	require.NotEqual(t, b, status.Services[1].PID)
	require.Equal(t, "d", status.Services[2].Name)
	require.False(t, running(b) || running(c))
	require.NoDirExists(t, filepath.Join(f.dir, "web", "c"))
	require.Equal(t, []contracts.Reason{contracts.ReasonStopping, contracts.ReasonStarting, contracts.ReasonStarting}, reasons)
	phase, reason := status.Assess()
	require.Equal(t, contracts.PhaseRunning, phase)
	require.Empty(t, reason)

	require.NoError(t, r.Apply(t.Context(), workload("web", 2, score(t, 7, shell("a", sleeper), changed, shell("d", sleeper))),
		func(contracts.Reason, string) { t.Error("a changed lifecycle alone touches no process") }))
	require.Equal(t, status, f.status(r, "web"))

	require.NoError(t, r.Remove(t.Context(), "web"))
	require.NoError(t, r.Remove(t.Context(), "web"))
	for _, service := range status.Services {
		_, err := readStat(service.PID)
		require.ErrorIs(t, err, os.ErrNotExist, "neither process nor zombie")
	}
	require.NoDirExists(t, filepath.Join(f.dir, "web"))
	list, err := r.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestApplyNamesWhyAServiceDoesNotStart(t *testing.T) {
	f := newFixture(t)
	r, _ := f.run(Options{})
	plain := filepath.Join(f.dir, "plain")
	require.NoError(t, os.WriteFile(plain, []byte("x"), 0o600))
	orphan := filepath.Join(f.dir, "orphan")
	require.NoError(t, os.WriteFile(orphan, []byte("#!/no/such/interpreter\n"), 0o700))
	cases := map[string]struct {
		service contracts.ProcessService
		reason  contracts.Reason
		text    string
	}{
		"not in PATH":         {contracts.ProcessService{Command: contracts.Command{"no-such-program"}}, contracts.ReasonCommandNotFound, `"no-such-program" is not in the agent's PATH`},
		"no such file":        {contracts.ProcessService{Command: contracts.Command{"/no/such/program"}}, contracts.ReasonCommandNotFound, "/no/such/program does not exist"},
		"no such interpreter": {contracts.ProcessService{Command: contracts.Command{orphan}}, contracts.ReasonCommandNotFound, "interpreter"},
		"not executable":      {contracts.ProcessService{Command: contracts.Command{plain}}, contracts.ReasonStartFailed, "may not be executed"},
		"no such directory":   {contracts.ProcessService{Command: contracts.Command{"/bin/sh"}, Dir: "/no/such/dir"}, contracts.ReasonStartFailed, "working directory /no/such/dir"},
		"directory is a file": {contracts.ProcessService{Command: contracts.Command{"/bin/sh"}, Dir: plain}, contracts.ReasonStartFailed, "not a directory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.service.Name = "bad"
			c.service.Env = map[string]string{"TOKEN": "hunter2"}
			c.service.Args = []string{"--password=hunter2"}
			err := r.Apply(t.Context(), workload("web", 1, score(t, 1, c.service, shell("good", sleeper))), nil)
			var failure *domain.WorkloadError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, c.reason, failure.Reason)
			require.Contains(t, failure.Message, c.text)
			require.NotContains(t, failure.Message, "hunter2")
			require.Error(t, failure.Cause)
			require.Equal(t, contracts.ServiceRunning, f.report(r, "web", "good").State, "the others start")
			status := f.status(r, "web")
			require.Equal(t, contracts.ServiceWaiting, status.Services[0].State)
			require.Equal(t, c.reason, status.Reason)
			require.Equal(t, failure.Message, status.Message)
		})
	}
}

func TestApplyTriesAFailedStartAgain(t *testing.T) {
	f := newFixture(t)
	r := f.open(Options{})
	program := filepath.Join(f.dir, "program")
	service := contracts.ProcessService{Name: "late", Command: contracts.Command{program}}
	require.Error(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, service)), nil))
	require.Error(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, service)), nil))
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"+sleeper+"\n"), 0o700))
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, service)), nil))
	report := f.report(r, "web", "late")
	require.Equal(t, contracts.ServiceRunning, report.State)
	require.Zero(t, report.Restarts)
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestApplyRefusesWhatItCannotRun(t *testing.T) {
	f := newFixture(t)
	r := f.open(Options{})
	cases := map[contracts.Reason]domain.Workload{
		contracts.ReasonUnsupportedScore: {Name: "web", Score: contracts.ReconcileScore{Type: contracts.ScorePodmanV0, Data: json.RawMessage(`{}`)}},
		contracts.ReasonInvalidScore:     workload("web", 1, json.RawMessage(`{"services":[]}`)),
	}
	for reason, w := range cases {
		var failure *domain.WorkloadError
		require.ErrorAs(t, r.Apply(t.Context(), w, nil), &failure)
		require.Equal(t, reason, failure.Reason)
	}
	require.Error(t, r.Apply(t.Context(), workload("../escape", 1, score(t, 1, shell("a", sleeper))), nil))
	list, err := r.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestEnvironmentIsMinimal(t *testing.T) {
	t.Setenv("AGENT_SECRET", "hunter2")
	t.Setenv("TZ", "Europe/Paris")
	f := newFixture(t)
	r := f.open(Options{})
	service := shell("env", "pwd; env; echo end; "+sleeper)
	service.Env = map[string]string{"GREETING": "hello", "LANG": "fr_FR.UTF-8", markVariable: "forged"}
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, service)), nil))
	f.eventually(func() bool { return strings.HasSuffix(f.read("web", "env", "log"), "end\n") }, "the environment is printed")
	text := f.read("web", "env", "log")
	require.True(t, strings.HasPrefix(text, filepath.Join(f.dir, "web", "env", "work")+"\n"))
	require.Contains(t, text, "GREETING=hello\n")
	require.Contains(t, text, "LANG=fr_FR.UTF-8\n")
	require.Contains(t, text, "TZ=Europe/Paris\n")
	require.Contains(t, text, "PATH="+os.Getenv("PATH")+"\n")
	require.Contains(t, text, markVariable+"="+r.mark+"/web/env\n")
	require.NotContains(t, text, "hunter2")
	info, err := os.Stat(filepath.Join(f.dir, "web", "env", recordFile))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestProcessesHoldNoFileOfTheAgents(t *testing.T) {
	f := newFixture(t)
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	defer reader.Close()
	_, err = unix.FcntlInt(writer.Fd(), unix.F_SETFD, 0) // as if the agent was started with it
	require.NoError(t, err)
	r := f.open(Options{})
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", sleeper))), nil))
	require.NoError(t, writer.Close())
	require.NoError(t, reader.SetReadDeadline(time.Now().Add(patience)))
	_, err = reader.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "nobody holds the pipe")
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestApplyLeavesWhatItHasDoneWhenCancelled(t *testing.T) {
	f := newFixture(t)
	r := f.open(Options{})
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 5, shell("a", sleeper))), nil))
	cancelledCtx, cancel := context.WithCancel(t.Context())
	cancel()
	err := r.Apply(cancelledCtx, workload("web", 2, score(t, 5, shell("a", sleeper), shell("b", sleeper))), nil)
	var failure *domain.WorkloadError
	require.ErrorAs(t, err, &failure)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, contracts.ServiceRunning, f.report(r, "web", "a").State)
	require.EqualValues(t, 1, f.status(r, "web").Generation)
	require.NoError(t, r.Apply(t.Context(), workload("web", 2, score(t, 5, shell("a", sleeper), shell("b", sleeper))), nil))
	require.Equal(t, contracts.ServiceRunning, f.report(r, "web", "b").State)
	require.NoError(t, r.Remove(t.Context(), "web"))
}
