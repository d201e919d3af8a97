package local_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/local"
)

// score is a Score of resources alone.
type score []deploy.Resource

func (s score) Name() string                                              { return "test" }
func (s score) Resources(local.Units) ([]deploy.Resource, error)          { return s, nil }
func (s score) Smoke(context.Context, local.Units, deploy.Progress) error { return nil }
func job(on local.Units, resources ...deploy.Resource) deploy.Job {
	return deploy.For(score(resources)).On(on)
}
func exists(path string) bool { _, err := os.Stat(path); return err == nil }
func awaitFile(path string) func(context.Context) error {
	return func(ctx context.Context) error {
		for !exists(path) {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(5 * time.Millisecond):
			}
		}
		return nil
	}
}

// process is a shell's script with a log.
func process(t *testing.T, script string) (local.Process, string) {
	t.Helper()
	dir := t.TempDir()
	return local.Process{
		Name: "program", Path: "/bin/sh", Log: filepath.Join(dir, "log"), Said: t.Logf,
		Args: func() []string { return []string{"-c", script, "sh", dir} },
	}, dir
}

func TestUpAndDown(t *testing.T) {
	machine := local.New(t.Context())
	defer func() { require.NoError(t, machine.Close()) }()
	program, dir := process(t, `trap 'echo >"$1/stopped"; exit 0' TERM; echo >"$1/up"; while :; do sleep 0.01; done`)
	program.Ready = awaitFile(filepath.Join(dir, "up"))
	served := make(chan struct{})
	both := job(machine,
		&local.Service{Units: machine, Name: "broker", Where: "nowhere", Run: func(ctx context.Context) error {
			<-ctx.Done()
			require.True(t, exists(filepath.Join(dir, "stopped")), "it is needed until the last")
			close(served)
			return nil
		}},
		&local.Processes{Units: machine, Name: "programs", All: []local.Process{program}})

	plan, err := both.Plan(t.Context(), deploy.Present, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, 2, plan.Changes())
	outcome, err := both.Apply(t.Context(), deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed())
	outcome, err = both.Apply(t.Context(), deploy.Options{})
	require.NoError(t, err)
	require.Zero(t, outcome.Changed())
	outcome, err = both.Destroy(t.Context(), deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed())
	<-served
	outcome, err = both.Destroy(t.Context(), deploy.Options{})
	require.NoError(t, err)
	require.Zero(t, outcome.Changed())
}

func TestAProgramThatEndsBeforeItIsReady(t *testing.T) {
	machine := local.New(t.Context())
	defer func() { require.Error(t, machine.Wait(t.Context()), "and the topology knows it too") }()
	defer func() { require.NoError(t, machine.Close()) }()
	program, dir := process(t, `echo first >&2; echo the port is taken >&2; exit 3`)
	program.Ready = awaitFile(filepath.Join(dir, "never"))
	_, err := job(machine, &local.Processes{Units: machine, Name: "programs", All: []local.Process{program}}).Apply(t.Context(), deploy.Options{})
	for _, says := range []string{"/bin/sh", "exit status 3", "the port is taken", program.Log} {
		require.ErrorContains(t, err, says)
	}
	require.NotContains(t, err.Error(), "first")
}

func TestAProgramThatEndsLaterIsStartedAgain(t *testing.T) {
	machine := local.New(t.Context())
	program, dir := process(t, `echo >>"$1/starts"; [ -e "$1/let" ] || { while [ ! -e "$1/let" ]; do sleep 0.01; done; exit 7; }; echo >"$1/again"; exec sleep 1000`)
	program.Ready = awaitFile(filepath.Join(dir, "starts"))
	var said []string
	program.Said = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	_, err := job(machine, &local.Processes{Units: machine, Name: "programs", All: []local.Process{program}}).Apply(t.Context(), deploy.Options{})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "let"), nil, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, awaitFile(filepath.Join(dir, "again"))(ctx))
	require.NoError(t, machine.Close())
	require.Contains(t, strings.Join(said, "\n"), "program ended (exit status 7), starting it again")
}

func TestAServiceThatEndsFailsTheTopology(t *testing.T) {
	machine := local.New(t.Context())
	broken := errors.New("the disk is full")
	_, err := machine.Start("broker", func(context.Context) error { return broken })
	require.NoError(t, err)
	require.ErrorIs(t, machine.Wait(t.Context()), broken)
	_, err = machine.Start("broker", func(ctx context.Context) error { <-ctx.Done(); return nil })
	require.NoError(t, err, "one that has ended can be started anew")
	_, err = machine.Start("broker", func(context.Context) error { return nil })
	require.ErrorContains(t, err, "it runs already")
	require.NoError(t, machine.Close())
	_, err = machine.Start("late", func(context.Context) error { return nil })
	require.ErrorContains(t, err, "everything is being stopped")
}
