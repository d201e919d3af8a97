package process

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

func TestLogsTail(t *testing.T) {
	f := newFixture(t)
	r := f.open(Options{})
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", "echo one; echo two >&2; printf three; echo >done; "+sleeper))), nil))
	f.read("web", "a", "work", "done")
	for tail, want := range map[int]string{-1: "one\ntwo\nthree", 0: "", 1: "three", 2: "two\nthree", 3: "one\ntwo\nthree", 100: "one\ntwo\nthree"} {
		logs, err := r.Logs(t.Context(), domain.LogQuery{Deployment: "web", Tail: tail})
		require.NoError(t, err)
		text, err := io.ReadAll(logs)
		require.NoError(t, err)
		require.Equal(t, want, string(text), tail)
		require.NoError(t, logs.Close())
		require.NoError(t, logs.Close())
	}
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestLogsNamesWhatIsMissing(t *testing.T) {
	f := newFixture(t)
	r := f.open(Options{})
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", sleeper), shell("b", sleeper))), nil))
	for query, kind := range map[domain.LogQuery]error{
		{Deployment: "other"}:               domain.ErrNotFound,
		{Deployment: "web", Service: "c"}:   domain.ErrNotFound,
		{Deployment: "web", Service: "../"}: domain.ErrNotFound,
		{Deployment: "web"}:                 domain.ErrInvalid,
	} {
		_, err := r.Logs(t.Context(), query)
		require.ErrorIs(t, err, kind)
	}
	require.NoError(t, r.Remove(t.Context(), "web"))
}

// appendLines writes as a process does, through a descriptor opened once.
func appendLines(t *testing.T, file io.Writer, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		_, err := fmt.Fprintf(file, "line %06d\n", i)
		require.NoError(t, err)
	}
}

func TestFollowAcrossCuts(t *testing.T) {
	for name, inotify := range map[string]bool{"inotify": true, "polling": false} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			r := f.open(Options{LogBytes: 1200, PollInterval: glance})
			require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", sleeper))), nil))
			log := r.services()[0].log
			file, err := log.open()
			require.NoError(t, err)
			defer file.Close()
			appendLines(t, file, 0, 50)
			logs, err := r.Logs(t.Context(), domain.LogQuery{Deployment: "web", Tail: 2, Follow: true})
			require.NoError(t, err)
			if !inotify {
				logs.(*logReader).events.polling.Store(true)
			}
			lines := bufio.NewReader(logs)
			for next := 48; next < 1050; next++ {
				if next%50 == 0 {
					appendLines(t, file, next, next+50)
					require.NoError(t, log.cut())
				}
				line, err := lines.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("line %06d\n", next), line)
			}
			require.LessOrEqual(t, fileSize(log.path), int64(1200))
			require.LessOrEqual(t, fileSize(log.previous()), int64(1200))

			all, err := r.Logs(t.Context(), domain.LogQuery{Deployment: "web", Tail: -1})
			require.NoError(t, err)
			text, err := io.ReadAll(all)
			require.NoError(t, err)
			require.NoError(t, all.Close())
			kept := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
			require.Greater(t, len(kept), 50)
			for i, line := range kept {
				require.Equal(t, fmt.Sprintf("line %06d", 1050-len(kept)+i), line, "whole lines, none missing")
			}
			for lines := range len(kept) {
				position, err := log.tail(lines + 1)
				require.NoError(t, err)
				start, end := log.bounds()
				require.EqualValues(t, 12*(lines+1), end-position)
				require.GreaterOrEqual(t, position, start)
			}

			// A new runtime reads the same.
			again, err := f.open(Options{}).Logs(t.Context(), domain.LogQuery{Deployment: "web", Tail: -1})
			require.NoError(t, err)
			textAgain, err := io.ReadAll(again)
			require.NoError(t, err)
			require.NoError(t, again.Close())
			require.Equal(t, string(text), string(textAgain))

			require.NoError(t, r.Remove(t.Context(), "web"))
			_, err = lines.ReadString('\n')
			require.ErrorIs(t, err, io.EOF, "following ends with the service")
			require.NoError(t, logs.Close())
		})
	}
}

func TestClosingEndsABlockedRead(t *testing.T) {
	f := newFixture(t)
	r := f.open(Options{})
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", sleeper))), nil))
	for _, byContext := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		logs, err := r.Logs(ctx, domain.LogQuery{Deployment: "web", Follow: true})
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() {
			_, err := logs.Read(make([]byte, 10))
			ended <- err
		}()
		if byContext {
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
		} else {
			require.NoError(t, logs.Close())
			require.ErrorIs(t, <-ended, os.ErrClosed)
		}
		require.NoError(t, logs.Close())
		cancel()
	}
	require.NoError(t, r.Remove(t.Context(), "web"))
}

func TestLogOfARunningProcessIsBounded(t *testing.T) {
	f := newFixture(t)
	options := quick()
	options.LogBytes = 64 << 10
	r, _ := f.run(options)
	// 2 MB, then a last line that shows the process still writes to the log.
	script := `i=0; while [ $i -lt 2000 ]; do printf '%01000d\n' $i; i=$((i+1)); done; echo >done; while [ ! -e go ]; do sleep 0.02; done; echo last; ` + sleeper
	require.NoError(t, r.Apply(t.Context(), workload("web", 1, score(t, 1, shell("a", script))), nil))
	pid := f.report(r, "web", "a").PID
	f.read("web", "a", "work", "done")
	log := filepath.Join(f.dir, "web", "a", "log")
	f.eventually(func() bool { return fileSize(log) <= options.LogBytes && fileSize(log+".1") > 0 }, "the log is cut")
	require.LessOrEqual(t, fileSize(log+".1"), options.LogBytes)
	require.NoError(t, os.WriteFile(filepath.Join(f.dir, "web", "a", "work", "go"), nil, 0o600))
	require.Eventually(t, func() bool {
		data, _ := os.ReadFile(log)
		return strings.HasSuffix(string(data), "last\n") && !strings.Contains(string(data), "\x00")
	}, patience, 10*time.Millisecond, "it goes on at the beginning of the cut file")
	require.Equal(t, pid, f.report(r, "web", "a").PID)
	require.NoError(t, r.Remove(t.Context(), "web"))
}
