package podman_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/conformance"
)

func testCommands(t *testing.T, h *host) {
	t.Helper()
	var owners atomic.Int64
	conformance.CommandRunner(t, func(t *testing.T) conformance.CommandRunnerFixture {
		t.Helper()
		r := h.runtime(t, func(o *podman.Options) { o.Owner = fmt.Sprintf("commands%d", owners.Add(1)) })
		return conformance.CommandRunnerFixture{
			Runner: r, Runtime: r, Scores: scores(t, h),
			Commands: conformance.CommandWords{
				Print:       func(text string, code int) []string { return []string{"/app", "say", text, "exit", strconv.Itoa(code)} },
				Flood:       func(bytes int) []string { return []string{"/app", "flood", strconv.Itoa(bytes)} },
				Environment: []string{"/app", "env", "NUMBER"},
				Hang: func(*testing.T) ([]string, func(*testing.T) bool) {
					token := rand.Text()
					return []string{"/app", "family", token}, func(*testing.T) bool { return inCommandLine(token) }
				},
			},
		}
	})
	t.Run("removal of the service ends its commands", func(t *testing.T) { testCommandOfRemoved(t, h) })
}

// inCommandLine reports whether a process that runs was started with the word.
func inCommandLine(word string) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), word) {
			return true
		}
	}
	return false
}

func testCommandOfRemoved(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, func(o *podman.Options) { o.Owner = "commandgone" })
	apply(t, r, workload(t, "web", 1, services(does("main", "stop", "_"))))
	token, done := rand.Text(), make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	go func() {
		_, err := r.RunCommand(ctx, domain.ServiceCommand{Deployment: "web", Command: []string{"/app", "family", token}}, &bytes.Buffer{})
		done <- err
	}()
	require.Eventually(t, func() bool { return inCommandLine(token) }, patience, 20*time.Millisecond)
	require.NoError(t, r.Remove(ctx, "web"))
	<-done // with a code, or with the engine's error: it ends
	assert.NoError(t, ctx.Err())
	assert.False(t, inCommandLine(token))
}
