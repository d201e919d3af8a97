package process

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/conformance"
)

func TestCommandRunner(t *testing.T) {
	t.Run("host", func(t *testing.T) {
		conformance.CommandRunner(t, func(t *testing.T) conformance.CommandRunnerFixture {
			t.Helper()
			return conformance.CommandRunnerFixture{Runner: newHostCommands(t), Commands: commandWords()}
		})
	})
	t.Run("runtime", func(t *testing.T) {
		conformance.CommandRunner(t, func(t *testing.T) conformance.CommandRunnerFixture {
			t.Helper()
			workloads := openFixture(t)
			runtime, _ := workloads.Runtime.(settled)
			words := commandWords()
			return conformance.CommandRunnerFixture{Runner: runtime, Runtime: runtime, Scores: workloads.Scores, Commands: words}
		})
	})
}

func newHostCommands(t *testing.T) *HostCommands {
	t.Helper()
	runner, err := NewHostCommands()
	require.NoError(t, err)
	return runner
}

func sh(script string, args ...string) []string {
	return append([]string{"/bin/sh", "-c", script}, args...)
}

func commandWords() conformance.CommandWords {
	return conformance.CommandWords{
		Print: func(text string, code int) []string { return sh(`printf %s "$0"; exit $1`, text, strconv.Itoa(code)) },
		Flood: func(bytes int) []string { return sh(fmt.Sprintf("head -c %d /dev/zero", bytes)) },
		Hang: func(*testing.T) ([]string, func(*testing.T) bool) {
			token := rand.Text()
			words := sh(`trap '' TERM; (while :; do sleep 0.1; done) & echo ready; while :; do sleep 0.1; done`, token)
			return words, func(*testing.T) bool { return inCommandLine(token) }
		},
	}
}

// inCommandLine reports whether a process that runs was started with the word.
func inCommandLine(word string) bool {
	for process := range processes() {
		line, err := os.ReadFile(procPath(process.pid, "cmdline"))
		if err == nil && strings.Contains(string(line), word) {
			return true
		}
	}
	return false
}

func run(t *testing.T, runner domain.CommandRunner, command domain.ServiceCommand) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var output bytes.Buffer
	code, err := runner.RunCommand(ctx, command, &output)
	require.NoError(t, err)
	return code, output.String()
}

func TestCommandOnTheHost(t *testing.T) {
	t.Setenv("AGENT_SECRET", "s3cr3t")
	host := newHostCommands(t)

	t.Run("begins in the root directory without the agent's variables", func(t *testing.T) {
		_, output := run(t, host, domain.ServiceCommand{Command: sh("pwd; env; readlink /proc/self/fd/0")})
		assert.True(t, strings.HasPrefix(output, "/\n"), output)
		assert.Contains(t, output, "/dev/null")
		assert.NotContains(t, output, "s3cr3t")
		assert.NotContains(t, output, markVariable)
	})
	t.Run("signal is told as a shell tells it", func(t *testing.T) {
		code, _ := run(t, host, domain.ServiceCommand{Command: sh("kill -KILL $$")})
		assert.Equal(t, 137, code)
	})
	t.Run("errors come in order with output", func(t *testing.T) {
		_, output := run(t, host, domain.ServiceCommand{Command: sh("echo a; echo b >&2; echo c")})
		assert.Equal(t, "a\nb\nc\n", output)
	})
	t.Run("what it leaves in the background is killed at its end", func(t *testing.T) {
		token := rand.Text()
		code, output := run(t, host, domain.ServiceCommand{Command: sh(`sh -c 'while :; do sleep 0.1; done' ` + token + ` & echo begun; exit 4`)})
		assert.Equal(t, 4, code)
		assert.Equal(t, "begun\n", output)
		assert.False(t, inCommandLine(token))
	})
	t.Run("what left the session does not hold it up", func(t *testing.T) {
		pidFile := t.TempDir() + "/pid"
		code, _ := run(t, host, domain.ServiceCommand{Command: sh(`setsid sh -c 'echo $$ >"$0"; exec sleep 1000' "$0" & while [ ! -s "$0" ]; do sleep 0.05; done`, pidFile)})
		assert.Zero(t, code)
		data, err := os.ReadFile(pidFile)
		require.NoError(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		require.NoError(t, err)
		escaped, err := os.FindProcess(pid)
		require.NoError(t, err)
		require.NoError(t, escaped.Kill())
	})
	t.Run("file that may not be executed", func(t *testing.T) {
		file := t.TempDir() + "/plain"
		require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
		code, output := run(t, host, domain.ServiceCommand{Command: []string{file}})
		assert.Equal(t, 126, code)
		assert.Contains(t, output, file)
	})
}

func TestCommandInAService(t *testing.T) {
	f := newFixture(t)
	r, _ := f.run(Options{})
	service := shell("main", "exec sleep 1000")
	service.Env = map[string]string{"NUMBER": "7"}
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, service)), func(contracts.Reason, string) {}))
	_, output := run(t, r, domain.ServiceCommand{Deployment: "web", Command: sh("pwd; echo $NUMBER$" + markVariable)})
	assert.Equal(t, r.deployments["web"].services["main"].workDir()+"\n7\n", output)
}
