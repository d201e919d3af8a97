package agent_test

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// floodingRuntime has services that write as fast as anybody reads, for ever.
type floodingRuntime struct {
	*memory.Runtime
	flood *flood
}

func (r floodingRuntime) Logs(context.Context, domain.LogQuery) (io.ReadCloser, error) {
	return r.flood, nil
}

// flood is an endless log that counts what was read of it.
type flood struct {
	read   atomic.Int64
	closed atomic.Bool
}

func (f *flood) Read(p []byte) (int, error) {
	if f.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	at := f.read.Load()
	for i := range p {
		p[i] = floodByte(at + int64(i))
	}
	f.read.Add(int64(len(p)))
	return len(p), nil
}

func (f *flood) Close() error {
	f.closed.Store(true)
	return nil
}

func floodByte(at int64) byte { return byte(at % 251) }

// slowTerminal takes one write whenever it is told to, and notes how far the log
// had been read on the device by then.
type slowTerminal struct {
	next    chan struct{}
	written int64
	// most is the largest write.
	most  int
	wrong bool
}

func (w *slowTerminal) Write(p []byte) (int, error) {
	<-w.next
	for i, b := range p {
		w.wrong = w.wrong || b != floodByte(w.written+int64(i))
	}
	w.written += int64(len(p))
	w.most = max(w.most, len(p))
	return len(p), nil
}

// A service that writes without end, and a reader on a slow line: nobody between
// them holds more than two replies, however long it lasts, and nothing is lost.
func TestFollowingAFloodHoldsLittle(t *testing.T) {
	inBubble(t, func(b *bench) {
		source := &flood{}
		b.runtimes = []domain.WorkloadRuntime{floodingRuntime{b.runtime, source}}
		b.start()
		b.publish(1, process("web", 1, "serve"))
		ctx, cancel := context.WithCancel(b.t.Context())
		terminal := &slowTerminal{next: make(chan struct{})}
		copied := make(chan error, 1)
		go func() {
			copied <- domain.CopyLogs(ctx, b.fleet.Commands(), deviceID, contracts.LogsRequest{Deployment: "web", Tail: -1, Follow: true}, terminal)
		}()
		// One reply waits for the terminal, the next one on the device.
		const held = 2 * contracts.MaxLogChunk
		for range 200 {
			synctest.Wait() // all that can be read ahead is
			require.LessOrEqual(t, source.read.Load()-terminal.written, int64(held))
			terminal.next <- struct{}{}
		}
		synctest.Wait()
		assert.Greater(t, terminal.written, int64(200*contracts.MaxLogChunk/2), "it goes on in whole pieces")
		assert.LessOrEqual(t, terminal.most, contracts.MaxLogChunk)
		assert.False(t, terminal.wrong, "nothing is lost or doubled")

		// Whoever reads goes away in the middle: the device stops reading, and lets
		// go of the log when nobody comes back for it.
		cancel()
		close(terminal.next)
		require.NoError(t, <-copied)
		b.advance(time.Minute)
		assert.True(t, source.closed.Load())
	})
}

// The same for a device whose engine is dead: the error is the device's own.
func TestLogsOfADeadEngineAreTheDevicesError(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtimes = []domain.WorkloadRuntime{deadRuntime{b.runtime}}
		b.start()
		b.publish(1, process("web", 1, "serve"))
		var out bytes.Buffer
		err := domain.CopyLogs(b.t.Context(), b.fleet.Commands(), deviceID, contracts.LogsRequest{Deployment: "web", Tail: -1, Follow: true}, &out)
		require.ErrorIs(t, err, domain.ErrUnavailable)
		answered := &domain.DeviceError{}
		require.ErrorAs(t, err, &answered)
		assert.Equal(t, deviceID, answered.Device)
		assert.Contains(t, err.Error(), "the engine does not answer")
	})
}

// deadRuntime has an engine that ended after it had started everything.
type deadRuntime struct{ *memory.Runtime }

func (deadRuntime) Logs(context.Context, domain.LogQuery) (io.ReadCloser, error) {
	return nil, domain.Errorf(domain.ErrUnavailable, "the engine does not answer")
}
