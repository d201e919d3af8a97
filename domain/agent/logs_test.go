package agent_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// withLog runs a test with a device that runs "web", whose log is text.
func withLog(t *testing.T, text string, test func(b *bench)) {
	t.Helper()
	inBubble(t, func(b *bench) {
		b.runtime.Behave("serve", memory.Behaviour{Output: text})
		b.start()
		b.publish(1, process("web", 1, "serve"))
		test(b)
	})
}

func logs(b *bench, request contracts.LogsRequest) (contracts.LogsResult, error) {
	return call[contracts.LogsResult](b, contracts.VerbLogs, request)
}

func TestLogsAreCopiedWhole(t *testing.T) {
	text := strings.Repeat("one line of a long log\n", 10_000)
	withLog(t, text, func(b *bench) {
		var out bytes.Buffer
		request := contracts.LogsRequest{Deployment: "web", Tail: -1}
		require.NoError(t, domain.CopyLogs(b.t.Context(), b.fleet.Commands(), deviceID, request, &out))
		assert.Equal(t, text, out.String())
	})
}

func TestLogsTail(t *testing.T) {
	withLog(t, "one\ntwo\nthree\n", func(b *bench) {
		result, err := logs(b, contracts.LogsRequest{Deployment: "web", Service: "main", Tail: 2})
		require.NoError(t, err)
		text := string(result.Chunk)
		for !result.End {
			result, err = logs(b, contracts.LogsRequest{Deployment: "web", Service: "main", Session: result.Session})
			require.NoError(t, err)
			text += string(result.Chunk)
		}
		assert.Equal(t, "two\nthree\n", text)
	})
}

func TestLogsFollowWaitsForMore(t *testing.T) {
	withLog(t, "one\n", func(b *bench) {
		request := contracts.LogsRequest{Deployment: "web", Tail: -1, Follow: true, Wait: contracts.Duration(20 * time.Second)}
		result, err := logs(b, request)
		require.NoError(t, err)
		assert.Equal(t, "one\n", string(result.Chunk))
		request.Session = result.Session

		begun := time.Now()
		result, err = logs(b, request)
		require.NoError(t, err)
		assert.Empty(t, result.Chunk)
		assert.False(t, result.End)
		assert.Equal(t, 20*time.Second, time.Since(begun))

		time.AfterFunc(5*time.Second, func() { b.runtime.Print("web", "main", "two\n") })
		begun = time.Now()
		result, err = logs(b, request)
		require.NoError(t, err)
		assert.Equal(t, "two\n", string(result.Chunk))
		assert.Equal(t, 5*time.Second, time.Since(begun))

		b.publish(2)
		result, err = logs(b, request)
		require.NoError(t, err)
		assert.True(t, result.End, "the log ends with its service")
		_, err = logs(b, request)
		require.ErrorIs(t, err, domain.ErrNotFound)
	})
}

func TestLogsChunksAreBounded(t *testing.T) {
	withLog(t, strings.Repeat("x", 200<<10), func(b *bench) {
		request := contracts.LogsRequest{Deployment: "web", Tail: -1}
		chunks := 0
		for end := false; !end; chunks++ {
			result, err := logs(b, request)
			require.NoError(t, err)
			assert.LessOrEqual(t, len(result.Chunk), contracts.MaxLogChunk)
			request.Session, end = result.Session, result.End
			b.advance(time.Millisecond)
		}
		assert.LessOrEqual(t, chunks, 8, "a reply carries all that was read ahead")
	})
}

func TestLogsOfUnknownThings(t *testing.T) {
	withLog(t, "one\n", func(b *bench) {
		_, err := logs(b, contracts.LogsRequest{Deployment: "other"})
		require.ErrorIs(t, err, domain.ErrNotFound)
		_, err = logs(b, contracts.LogsRequest{Deployment: "web", Service: "other"})
		require.ErrorIs(t, err, domain.ErrNotFound)
		_, err = logs(b, contracts.LogsRequest{Deployment: "web", Session: "made-up"})
		require.ErrorIs(t, err, domain.ErrNotFound)
	})
}

func TestLogSessionBelongsToItsService(t *testing.T) {
	withLog(t, "one\n", func(b *bench) {
		b.publish(2, process("web", 1, "serve"), process("db", 1, "serve"))
		result, err := logs(b, contracts.LogsRequest{Deployment: "web", Follow: true, Tail: -1})
		require.NoError(t, err)
		for _, other := range []contracts.LogsRequest{
			{Deployment: "db", Session: result.Session},
			{Deployment: "web", Service: "main", Session: result.Session},
		} {
			_, err = logs(b, other)
			require.ErrorIs(t, err, domain.ErrNotFound)
		}
	})
}

func TestLogSessionsAreBoundedAndExpire(t *testing.T) {
	withLog(t, "one\n", func(b *bench) {
		request := contracts.LogsRequest{Deployment: "web", Tail: -1, Follow: true}
		sessions := []string{}
		for range 16 {
			result, err := logs(b, request)
			require.NoError(t, err)
			sessions = append(sessions, result.Session)
		}
		_, err := logs(b, request)
		require.ErrorIs(t, err, domain.ErrUnavailable)

		b.advance(20 * time.Second)
		kept := request
		kept.Session = sessions[3]
		_, err = logs(b, kept)
		require.NoError(t, err)
		b.advance(11 * time.Second)
		for i, session := range sessions {
			again := request
			again.Session = session
			_, err = logs(b, again)
			if i == 3 {
				require.NoError(t, err, "it was asked for meanwhile")
				continue
			}
			require.ErrorIs(t, err, domain.ErrNotFound)
		}
		_, err = logs(b, request)
		require.NoError(t, err, "there is room again")
	})
}

func TestLogSessionTakesOneRequestAtATime(t *testing.T) {
	withLog(t, "one\n", func(b *bench) {
		request := contracts.LogsRequest{Deployment: "web", Tail: 0, Follow: true}
		result, err := logs(b, request)
		require.NoError(t, err)
		request.Session, request.Wait = result.Session, contracts.Duration(10*time.Second)
		first := make(chan error, 1)
		go func() {
			_, err := logs(b, request)
			first <- err
		}()
		synctest.Wait()
		_, err = logs(b, request)
		require.ErrorIs(t, err, domain.ErrConflict)
		require.NoError(t, <-first)
	})
}

func TestLogSessionsEndWithTheAgent(t *testing.T) {
	withLog(t, "one\n", func(b *bench) {
		ctx, cancel := context.WithCancel(b.t.Context())
		defer cancel()
		copied := make(chan error, 1)
		var out bytes.Buffer
		request := contracts.LogsRequest{Deployment: "web", Tail: -1, Follow: true}
		go func() { copied <- domain.CopyLogs(ctx, b.fleet.Commands(), deviceID, request, &out) }()
		b.advance(15 * time.Second)
		b.end() // the bubble would deadlock on what is left running
		require.Error(t, <-copied)
		assert.Equal(t, "one\n", out.String())
	})
}
