package podman_test

import (
	"bufio"
	"context"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func readAll(r io.Reader) string {
	data, _ := io.ReadAll(r)
	return string(data)
}

func tail(t *testing.T, r *podman.Runtime, query domain.LogQuery) string {
	t.Helper()
	log, err := r.Logs(t.Context(), query)
	require.NoError(t, err)
	defer log.Close()
	data, err := io.ReadAll(log)
	require.NoError(t, err)
	return string(data)
}

func testLogs(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	apply(t, r, workload(t, "logs", 1, services(does("web", "print", "out", "count", "2000", "stop", "_"))))
	all := logOf(t, r, "logs", "web", "ready")
	assert.Contains(t, all, "out\n")
	assert.Equal(t, 2002, strings.Count(all, "\n"))
	assert.Equal(t, "line 2000\nready\n", tail(t, r, domain.LogQuery{Deployment: "logs", Tail: 2}))
	assert.Empty(t, tail(t, r, domain.LogQuery{Deployment: "logs", Service: "web", Tail: 0}))

	apply(t, r, workload(t, "two", 1, services(does("a", "print", "out", "warn", "err", "stop", "_"), does("b", "stop", "_"))))
	// An engine reads the two streams of a container one apart from the other, so
	// that their lines are in any order.
	logOf(t, r, "two", "a", "out\n", "err\n", "ready\n")
	for query, kind := range map[domain.LogQuery]error{
		{Deployment: "none"}:                  domain.ErrNotFound,
		{Deployment: "logs", Service: "none"}: domain.ErrNotFound,
		{Deployment: "two"}:                   domain.ErrInvalid,
	} {
		_, err := r.Logs(t.Context(), query)
		assert.ErrorIs(t, err, kind)
	}
}

func testLogsFollow(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	apply(t, r, workload(t, "follow", 1, services(does("web", "stop", "_"))))
	logOf(t, r, "follow", "web", "ready")
	query := domain.LogQuery{Deployment: "follow", Tail: 0, Follow: true}

	// A Read that waits for a line ends when the log is closed, or ctx ends.
	log, err := r.Logs(t.Context(), query)
	require.NoError(t, err)
	read := make(chan error)
	go func() { _, err := log.Read(make([]byte, 10)); read <- err }()
	select {
	case err := <-read:
		t.Fatalf("nothing was written, and Read returned %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	require.NoError(t, log.Close())
	require.Error(t, <-read)
	ctx, cancel := context.WithCancel(t.Context())
	log, err = r.Logs(ctx, query)
	require.NoError(t, err)
	go func() { _, err := log.Read(make([]byte, 10)); read <- err }()
	cancel()
	require.Error(t, <-read)
	require.NoError(t, log.Close())

	// It goes on through a restart and a replacement, and ends with the service.
	query.Tail = -1
	log, err = r.Logs(t.Context(), query)
	require.NoError(t, err)
	defer log.Close()
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(log); scanner.Scan(); {
			lines <- scanner.Text()
		}
		_, err := log.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)
	}()
	next := func() string {
		select {
		case line := <-lines:
			return line
		case <-time.After(patience):
			return "nothing came"
		}
	}
	assert.Equal(t, "ready", next())
	require.NoError(t, syscall.Kill(status(t, r, "follow").Services[0].PID, syscall.SIGTERM))
	assert.Equal(t, "terminated", next())
	assert.Equal(t, "ready", next(), "the engine restarted it")
	apply(t, r, workload(t, "follow", 2, services(does("web", "print", "second", "stop", "_"))))
	assert.Equal(t, "terminated", next())
	assert.Equal(t, "second", next())
	assert.Equal(t, "ready", next())
	require.NoError(t, r.Remove(t.Context(), "follow"))
	assert.Equal(t, "terminated", next())
	line, more := <-lines
	assert.False(t, more, line)
}

func testWatch(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	apply(t, r, workload(t, "watched", 1, services(does("web", "stop", "_"))))
	logOf(t, r, "watched", "web", "ready")
	ctx, cancel := context.WithCancel(t.Context())
	names := make(chan contracts.DeploymentName, 100)
	done := make(chan error)
	go func() { done <- r.Watch(ctx, func(name contracts.DeploymentName) { names <- name }) }()
	require.Eventually(t, func() bool {
		if pid := status(t, r, "watched").Services[0].PID; pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case name := <-names:
			return name == "watched"
		case <-time.After(2 * time.Second):
			return false
		}
	}, patience, 100*time.Millisecond)
	killed := eventually(t, r, "watched", func(s domain.WorkloadStatus) bool {
		return s.Services[0].State == contracts.ServiceRunning && s.Services[0].Restarts > 0
	})
	require.NotNil(t, killed.Services[0].ExitCode, "the event told it")
	assert.Equal(t, 137, *killed.Services[0].ExitCode)
	cancel()
	require.NoError(t, <-done)
}
