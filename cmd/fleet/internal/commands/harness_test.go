package commands_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/commands"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/contexts"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// terminal is where a test types commands.
type terminal struct {
	t     *testing.T
	fleet *memory.Fleet
	// tokens makes enrollment tokens.
	tokens domain.EnrollmentTokenIssuer
	env    map[string]string
	stdin  string
	// connected is where the last command connected to.
	connected contexts.Context
	// connectError, when set, is what connecting gives.
	connectError error
}

// elsewhere is where the clocks of devices and operator are; the output is in UTC.
var elsewhere = time.FixedZone("elsewhere", 5*60*60+45*60)

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	return &terminal{t: t, fleet: memory.New(), tokens: enrollment.NewIssuer(key), env: map[string]string{
		"HOME": t.TempDir(), cli.EnvServer: "nats://memory:4222",
	}}
}

type result struct {
	code           int
	stdout, stderr string
}

func (x *terminal) execute(ctx context.Context, stdout io.Writer, args ...string) result {
	connect := func(_ context.Context, to contexts.Context) (cli.Fleet, func(), error) {
		x.connected = to
		return cli.Fleet{
			Devices: x.fleet.Devices(), Deployments: x.fleet.Deployments(), Statuses: x.fleet.Statuses(),
			Observed: x.fleet.Observed(), Commands: x.fleet.Commands(), Events: x.fleet.Events(),
			Enrollments: x.fleet.Enrollments(), Tokens: x.tokens,
		}, func() {}, x.connectError
	}
	getenv := func(name string) (string, bool) { value, ok := x.env[name]; return value, ok }
	root := commands.New(cli.NewApp(connect, getenv), "v1.2.3") //nolint:contextcheck // cobra hands the context to the commands
	var errors bytes.Buffer
	root.SetIn(strings.NewReader(x.stdin))
	root.SetOut(stdout)
	root.SetErr(&errors)
	code := cli.Execute(ctx, root, args, &errors)
	return result{code: code, stderr: errors.String()}
}

func (x *terminal) run(args ...string) result {
	x.t.Helper()
	var out bytes.Buffer
	r := x.execute(x.t.Context(), &out, args...)
	r.stdout = out.String()
	return r
}

// ok runs a command that must succeed and returns what it printed.
func (x *terminal) ok(args ...string) string {
	x.t.Helper()
	r := x.run(args...)
	require.Equal(x.t, 0, r.code, "fleet %s: %s", strings.Join(args, " "), r.stderr)
	require.Empty(x.t, r.stderr)
	return r.stdout
}

// background is a command that goes on.
type background struct {
	cancel context.CancelFunc
	done   chan result
	mu     sync.Mutex
	out    bytes.Buffer
}

func (x *terminal) start(args ...string) *background {
	ctx, cancel := context.WithCancel(x.t.Context())
	b := &background{cancel: cancel, done: make(chan result, 1)}
	go func() { b.done <- x.execute(ctx, b, args...) }()
	return b
}

// Write implements io.Writer.
func (b *background) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(data)
}

// taken returns what was printed since the last call.
func (b *background) taken() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.out.String()
	b.out.Reset()
	return text
}

func (x *terminal) register(id contracts.DeviceID, labels contracts.Labels) {
	x.t.Helper()
	_, err := x.fleet.Devices().Create(x.t.Context(), domain.FleetDevice{ID: id, Labels: labels, RegisteredAt: time.Now()})
	require.NoError(x.t, err)
}

// says makes a device say that it runs the deployments.
func (x *terminal) says(id contracts.DeviceID, deployments ...contracts.DeploymentReport) {
	x.t.Helper()
	device := x.fleet.Device(id)
	ctx := x.t.Context()
	require.NoError(x.t, device.Heartbeat(ctx, contracts.Heartbeat{AgentVersion: "v0.9"}))
	require.NoError(x.t, device.Info(ctx, contracts.DeviceInfo{
		AgentVersion: "v0.9", Labels: contracts.Labels{"arch": "arm64"}, StartedAt: time.Now(),
		Inventory: contracts.Inventory{Model: "Raspberry \x1b[31mPi", CPUs: 4, MemoryBytes: 8 << 30},
	}))
	require.NoError(x.t, device.Report(ctx, contracts.DeviceReport{Sequence: 1, AppliedGeneration: 7, Deployments: deployments}))
}

func running(name contracts.DeploymentName) contracts.DeploymentReport {
	return contracts.DeploymentReport{
		Name: name, Generation: 1, Phase: contracts.PhaseRunning, Since: time.Now().In(elsewhere),
		Services: []contracts.ServiceReport{{Name: "a", State: contracts.ServiceRunning, Restarts: 2, PID: 42}},
	}
}

func failing(name contracts.DeploymentName) contracts.DeploymentReport {
	return contracts.DeploymentReport{
		Name: name, Generation: 1, Phase: contracts.PhaseFailed, Reason: contracts.ReasonCrashLoop,
		Message: "exit code 3", Since: time.Now().In(elsewhere),
	}
}

// status stores what the operator would say.
func (x *terminal) status(name contracts.DeploymentName, s contracts.DeploymentStatus, conditions ...contracts.ConditionType) {
	x.t.Helper()
	for _, kind := range []contracts.ConditionType{contracts.ConditionAvailable, contracts.ConditionProgressing, contracts.ConditionStalled} {
		c := contracts.Condition{Type: kind, Status: contracts.ConditionFalse, Reason: "Test", LastTransitionTime: time.Now().In(elsewhere)}
		for _, holds := range conditions {
			if holds == kind {
				c.Status = contracts.ConditionTrue
			}
		}
		s.Conditions = append(s.Conditions, c)
	}
	require.NoError(x.t, x.fleet.Statuses().Put(x.t.Context(), name, s))
}

// pass lets time pass in a bubble of synctest, and all that follows from it
// happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

const example = "../../../../examples"

func (x *terminal) applyHello() {
	x.t.Helper()
	x.ok("apply", "-f", filepath.Join(example, "hello.yaml"))
}
