package conformance

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// CommandRunnerFixture is a host, or a runtime that has nothing yet.
type CommandRunnerFixture struct {
	Runner domain.CommandRunner
	// Runtime is the runner with its workloads; nil for a runner of the host.
	Runtime  domain.WorkloadRuntime
	Scores   WorkloadScores
	Commands CommandWords
}

// CommandWords are the words of commands that the runner can run.
type CommandWords struct {
	// Print writes the text to standard output, as it is, and ends with the code.
	Print func(text string, code int) []string
	// Flood writes so many bytes.
	Flood func(bytes int) []string
	// Hang writes "ready" once it runs, ignores SIGTERM, has a child that does so
	// too, and never ends. alive reports whether either is on the host; nil where
	// nothing really runs.
	Hang func(t *testing.T) (words []string, alive func(t *testing.T) bool)
	// Environment prints the variable NUMBER of a service that Scores.Running
	// made; nil when there is none.
	Environment []string
}

// CommandRunner checks an implementation of domain.CommandRunner.
func CommandRunner(t *testing.T, open func(t *testing.T) CommandRunnerFixture) {
	t.Helper()
	runtime := named("Runtime", func(_ *testing.T, f CommandRunnerFixture) bool { return f.Runtime != nil })
	host := named("host", func(_ *testing.T, f CommandRunnerFixture) bool { return f.Runtime == nil })
	environment := named("Commands.Environment", func(_ *testing.T, f CommandRunnerFixture) bool { return f.Commands.Environment != nil })
	checkAll(t, open, []obligation[CommandRunnerFixture]{
		{name: "output and exit code", check: commandRuns},
		{name: "long output arrives whole", check: commandFlood},
		{name: "failing output ends the command", check: commandOutputFails},
		{name: "end of ctx kills the command and its children", check: commandKilled},
		{name: "ctx that has ended already", check: commandNotBegun},
		{name: "program that does not exist", check: commandUnknown},
		{name: "empty command", check: commandEmpty},
		{name: "several at a time", check: commandsAtOnce},
		{name: "the host has no deployments", check: commandHostOnly, needs: host},
		{name: "service's environment", check: commandEnvironment, needs: environment},
		{name: "service that is not there", check: commandNoService, needs: runtime},
		{name: "service must be named", check: commandWhichService, needs: runtime},
		{name: "service that does not run", check: commandEndedService, needs: runtime},
		{name: "service is left alone", check: commandServiceUntouched, needs: runtime},
	})
}

// place returns a command without words: on the host, or in a service that runs.
func (f CommandRunnerFixture) place(t *testing.T) domain.ServiceCommand {
	t.Helper()
	if f.Runtime == nil {
		return domain.ServiceCommand{}
	}
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"main": 7})))
	f.awaitRunning(t)
	return domain.ServiceCommand{Deployment: "web"}
}

func (f CommandRunnerFixture) awaitRunning(t *testing.T) {
	t.Helper()
	eventually(t, func() bool {
		s, ok := status(t, f.Runtime, "web")
		phase, _ := s.Assess()
		return ok && phase == contracts.PhaseRunning
	}, "the service must run")
}

func (f CommandRunnerFixture) run(ctx context.Context, place domain.ServiceCommand, words ...string) (int, string, error) {
	var output bytes.Buffer
	place.Command = words
	code, err := f.Runner.RunCommand(ctx, place, &output)
	return code, output.String(), err
}

func commandRuns(t *testing.T, f CommandRunnerFixture) {
	place := f.place(t)
	for _, want := range []int{0, 3} {
		code, output, err := f.run(bounded(t), place, f.Commands.Print("héllo\nworld", want)...)
		require.NoError(t, err)
		assert.Equal(t, want, code)
		assert.Equal(t, "héllo\nworld", output)
	}
}

func commandFlood(t *testing.T, f CommandRunnerFixture) {
	const size = 3 * contracts.MaxExecOutput
	code, output, err := f.run(bounded(t), f.place(t), f.Commands.Flood(size)...)
	require.NoError(t, err)
	assert.Zero(t, code)
	assert.Len(t, output, size)
}

// full is an output that takes nothing.
type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

func commandOutputFails(t *testing.T, f CommandRunnerFixture) {
	place, wrong := f.place(t), errors.New("full")
	words, alive := f.Commands.Hang(t)
	place.Command = words
	_, err := f.Runner.RunCommand(bounded(t), place, full{wrong})
	require.ErrorIs(t, err, wrong)
	requireNothingLeft(t, alive)
}

func requireNothingLeft(t *testing.T, alive func(*testing.T) bool) {
	t.Helper()
	if alive != nil {
		eventually(t, func() bool { return !alive(t) }, "nothing of the command must be left")
	}
}

// readyOutput tells when the command has said that it is ready.
type readyOutput struct {
	mu    sync.Mutex
	text  strings.Builder
	ready chan struct{}
}

func (o *readyOutput) Write(piece []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := strings.Contains(o.text.String(), "ready")
	o.text.Write(piece)
	if !was && strings.Contains(o.text.String(), "ready") {
		close(o.ready)
	}
	return len(piece), nil
}

func commandKilled(t *testing.T, f CommandRunnerFixture) {
	place := f.place(t)
	words, alive := f.Commands.Hang(t)
	place.Command = words
	output := &readyOutput{ready: make(chan struct{})}
	command := start(t, func(ctx context.Context) error {
		_, err := f.Runner.RunCommand(ctx, place, output)
		return err
	})
	select {
	case <-output.ready:
	case err := <-command.result:
		require.FailNow(t, "the command ended by itself", "%v: %s", err, output.text.String())
	case <-bounded(t).Done():
		require.FailNow(t, "the command did not begin")
	}
	require.True(t, alive == nil || alive(t))
	err := command.end(t)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, domain.ErrUnavailable)
	requireNothingLeft(t, alive)
	if f.Runtime != nil {
		f.awaitRunning(t)
	}
}

func commandNotBegun(t *testing.T, f CommandRunnerFixture) {
	place := f.place(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, output, err := f.run(ctx, place, f.Commands.Print("late", 0)...)
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, output)
}

func commandUnknown(t *testing.T, f CommandRunnerFixture) {
	place := f.place(t)
	for _, program := range []string{"/no/such/program", "no-such-program"} {
		code, output, err := f.run(bounded(t), place, program, "x")
		require.NoError(t, err)
		assert.Contains(t, []int{126, 127}, code)
		assert.Contains(t, output, program)
	}
}

func commandEmpty(t *testing.T, f CommandRunnerFixture) {
	_, _, err := f.run(bounded(t), f.place(t))
	require.ErrorIs(t, err, domain.ErrInvalid)
}

func commandsAtOnce(t *testing.T, f CommandRunnerFixture) {
	place := f.place(t)
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			text := strings.Repeat("x", i)
			code, output, err := f.run(bounded(t), place, f.Commands.Print(text, i)...)
			assert.NoError(t, err)
			assert.Equal(t, i, code)
			assert.Equal(t, text, output)
		})
	}
	all.Wait()
}

func commandHostOnly(t *testing.T, f CommandRunnerFixture) {
	_, _, err := f.run(bounded(t), domain.ServiceCommand{Deployment: "web"}, f.Commands.Print("x", 0)...)
	require.ErrorIs(t, err, domain.ErrInvalid)
}

func commandEnvironment(t *testing.T, f CommandRunnerFixture) {
	_, output, err := f.run(bounded(t), f.place(t), f.Commands.Environment...)
	require.NoError(t, err)
	assert.Equal(t, "7", strings.TrimSpace(output))
}

func commandNoService(t *testing.T, f CommandRunnerFixture) {
	words := f.Commands.Print("x", 0)
	_, _, err := f.run(bounded(t), domain.ServiceCommand{Deployment: "none"}, words...)
	require.ErrorIs(t, err, domain.ErrNotFound)
	place := f.place(t)
	place.Service = "none"
	_, _, err = f.run(bounded(t), place, words...)
	require.ErrorIs(t, err, domain.ErrNotFound)
}

func commandWhichService(t *testing.T, f CommandRunnerFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Running(map[string]int{"a": 1, "b": 2})))
	f.awaitRunning(t)
	words := f.Commands.Print("x", 0)
	_, _, err := f.run(bounded(t), domain.ServiceCommand{Deployment: "web"}, words...)
	require.ErrorIs(t, err, domain.ErrInvalid)
	_, output, err := f.run(bounded(t), domain.ServiceCommand{Deployment: "web", Service: "b"}, words...)
	require.NoError(t, err)
	assert.Equal(t, "x", output)
}

func commandEndedService(t *testing.T, f CommandRunnerFixture) {
	applied(t, f.Runtime, workload("web", 1, f.Scores.Ending(0, contracts.RestartNever)))
	eventually(t, func() bool {
		s, ok := status(t, f.Runtime, "web")
		return ok && s.Services[0].State == contracts.ServiceExited
	}, "the service must end")
	_, _, err := f.run(bounded(t), domain.ServiceCommand{Deployment: "web"}, f.Commands.Print("x", 0)...)
	require.ErrorIs(t, err, domain.ErrConflict)
}

func commandServiceUntouched(t *testing.T, f CommandRunnerFixture) {
	place := f.place(t)
	before, _ := status(t, f.Runtime, "web")
	_, _, err := f.run(bounded(t), place, f.Commands.Print("x", 5)...)
	require.NoError(t, err)
	after, _ := status(t, f.Runtime, "web")
	assert.Equal(t, before, after)
}
