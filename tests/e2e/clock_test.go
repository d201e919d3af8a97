package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// relay passes connections on, until it is cut.
type relay struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns []net.Conn
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{listener: listener, target: target}
	var accepting sync.WaitGroup
	accepting.Go(r.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
		r.cut()
	})
	return r
}

func (r *relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, near, far)
		r.mu.Unlock()
		go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
	}
}

// cut ends the connections; new ones are made as before.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	r.conns = nil
}

// TestTheClockIsSetWhileTheAgentRuns: a device without a battery for its clock, or a
// person with a mistake in a date. The clock of the real agent jumps by ten years,
// both ways; it goes on to be seen, to work, to stream a log, and to come back with
// its token, which its clock calls long expired, or not valid for years.
func TestTheClockIsSetWhileTheAgentRuns(t *testing.T) {
	t.Parallel()
	f := startAuthFleet(t)
	agent, err := fleettest.BuildJumping(f.ctx, root, t.TempDir(), runtime.GOARCH, "fleet-agent")
	require.NoError(t, err)
	line := newRelay(t, strings.TrimPrefix(f.server, "nats://"))
	f.startCallout("only", "--device-server", "nats://"+line.listener.Addr().String())
	pi := f.device("pi-1")
	out, err := pi.enroll(pi.invite("token", "-l", "site=paris"))
	require.NoError(t, err, out)
	pi.agent, err = fleettest.Start("agent pi-1", agent.Path, []string{"--config", pi.config()}, agent.Env(), nil)
	require.NoError(t, err)
	f.programs = append(f.programs, pi.agent)
	pi.awaitLink(true)

	conn, err := nats.Connect(f.ctx, nats.Config{Servers: []string{f.server}, Name: "test", Credential: nats.SeedFile(f.path("operator.nk")), FailFast: true})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	bus := nats.NewCommandBus(conn)
	heartbeats := func() uint64 { return lastHeartbeat(f.ctx, t, conn) }

	deploy := func(step int) {
		t.Helper()
		manifest := f.path("ticker.yaml")
		require.NoError(t, os.WriteFile(manifest, fmt.Appendf(nil, ticker, step), 0o600))
		f.mustFleet("apply", "-f", manifest)
		f.until("the change to run", func() (bool, string) {
			log, err := f.fleet("logs", "pi-1/ticker", "--tail", "1")
			return err == nil && strings.HasPrefix(log, fmt.Sprintf("step %d ", step)), fmt.Sprint(log, err, pi.agent.Output())
		})
	}
	const decade = 10 * 365 * 24 * time.Hour
	deploy(0)
	for i, offset := range []time.Duration{decade, -decade, 0} {
		reader, err := fleettest.Start("reader", filepath.Join(bin, "fleet"), []string{"logs", "-f", "--tail", "0", "pi-1/ticker"}, []string{
			"FLEET_NATS_URL=" + f.server, "FLEET_NKEY=" + f.path("operator.nk"), "XDG_CONFIG_HOME=" + f.path("config"),
		}, nil)
		require.NoError(t, err)
		f.until("a line of the log", func() (bool, string) { return strings.Contains(reader.Output(), "step"), reader.Output() })

		require.NoError(t, agent.Jump(pi.agent, offset))
		f.until("the clock to be set", func() (bool, string) {
			pong, err := domain.Call[contracts.PingResult](f.ctx, bus, "pi-1", contracts.VerbPing, contracts.Empty{})
			return err == nil && pong.Time.Sub(time.Now().Add(offset)).Abs() < time.Hour, fmt.Sprint(pong.Time, err)
		})
		lines, beats := strings.Count(reader.Output(), "step"), heartbeats()
		f.until("the log to go on", func() (bool, string) { return strings.Count(reader.Output(), "step") > lines+2, reader.Output() })
		require.NoError(t, reader.Stop(syscall.SIGINT, timeout))
		f.until("heartbeats to go on", func() (bool, string) { return heartbeats() > beats+2, pi.agent.Output() })
		deploy(2*i + 1)

		line.cut()
		f.until("the agent to come back", func() (bool, string) {
			return strings.Count(pi.agent.Output(), "connected to the broker") > i+1, pi.agent.Output()
		})
		deploy(2*i + 2)
		shown := f.mustFleet("get", "devices")
		require.Contains(t, shown, "Online")
	}
	pi.stopAgent()
}

// ticker tells its step and, ever more, how long it has been at it.
const ticker = `apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: ticker}
spec:
  targetSelector: {}
  score:
    type: ProcessV0
    data:
      services:
        - {name: main, command: /bin/sh, args: ["-c", "n=0; while true; do n=$((n+1)); echo step %d tick $n; sleep 0.2; done"]}
`

// lastHeartbeat returns the sequence of pi-1's newest heartbeat.
func lastHeartbeat(ctx context.Context, t *testing.T, conn *nats.Conn) uint64 {
	t.Helper()
	var last uint64
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := nats.NewObservedStateConsumer(conn).Consume(ctx, func(o domain.Observation) error {
		if o.Heartbeat != nil {
			last = o.Heartbeat.Sequence
		}
		if o.CaughtUp {
			cancel()
		}
		return nil
	})
	require.NoError(t, err)
	return last
}
