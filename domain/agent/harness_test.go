package agent_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

const deviceID contracts.DeviceID = "pi-042"

// bench is one device with its backend, in a synctest bubble.
type bench struct {
	t        *testing.T
	fleet    *memory.Fleet
	link     *memory.Device
	runtimes []domain.WorkloadRuntime
	runtime  *memory.Runtime
	store    agent.Store
	reporter *reporter
	options  agent.Options
	key      ed25519.PrivateKey

	agent *agent.Agent
	stop  context.CancelFunc
	done  chan error
}

// inBubble runs a test with a device whose agent is not started yet.
func inBubble(t *testing.T, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fleet := memory.New()
		runtime := memory.NewRuntime()
		link := fleet.Device(deviceID)
		b := &bench{
			t:        t,
			fleet:    fleet,
			link:     link,
			runtime:  runtime,
			runtimes: []domain.WorkloadRuntime{runtime},
			store:    agent.NewMemoryStore(),
			reporter: &reporter{ObservedStateReporter: link},
			options:  agent.Options{Version: "v1.2.3", Jitter: func() float64 { return 0 }},
			key:      keyOf("fleet"),
		}
		test(b)
		if b.stop != nil {
			b.end()
		}
	})
}

func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	public, _ := key.Public().(ed25519.PublicKey)
	return public
}

// start runs a new agent, as a boot would, and lets it settle.
func (b *bench) start() {
	b.t.Helper()
	b.begin()
	b.advance(time.Second)
}

func (b *bench) begin() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	b.agent = agent.New(
		agent.Identity{Device: deviceID, TrustedKeys: []ed25519.PublicKey{publicOf(b.key)}},
		b.store,
		agent.Capabilities{Source: b.link, Reporter: b.reporter, Link: b.link, Commands: b.link, Runtimes: b.runtimes, HostCommands: memory.HostCommands{}},
		b.options,
	)
	b.stop, b.done = cancel, make(chan error, 1)
	one, done := b.agent, b.done
	go func() { done <- one.Run(ctx) }()
}

// end stops the agent and waits for it.
func (b *bench) end() {
	b.t.Helper()
	b.stop()
	b.stop = nil
	require.NoError(b.t, <-b.done)
}

// advance lets time pass and everything that follows happen.
func (b *bench) advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// publish stores a signed desired state and lets the device act upon it.
func (b *bench) publish(generation uint64, deployments ...contracts.DesiredDeployment) {
	b.t.Helper()
	b.offer(contracts.Sign(encode(b.t, desired(generation, deployments...)), b.key))
	b.advance(time.Second)
}

// offer stores any bytes as the device's desired state.
func (b *bench) offer(envelope []byte) {
	b.t.Helper()
	var revision domain.Revision
	if stored, err := b.fleet.Desired().Get(b.t.Context(), deviceID); err == nil {
		revision = stored.Revision
	}
	results := b.fleet.Desired().Publish(b.t.Context(), []domain.DesiredDocument{{Device: deviceID, Envelope: envelope, Revision: revision}})
	require.NoError(b.t, results[0].Err)
	synctest.Wait()
}

func desired(generation uint64, deployments ...contracts.DesiredDeployment) contracts.DesiredState {
	slices.SortFunc(deployments, func(x, y contracts.DesiredDeployment) int { return strings.Compare(string(x.Name), string(y.Name)) })
	return contracts.DesiredState{
		Device: deviceID, Generation: generation, Deployments: deployments,
		HeartbeatInterval: contracts.Duration(30 * time.Second),
	}
}

func encode[D contracts.Document](t *testing.T, document D) []byte {
	t.Helper()
	data, err := contracts.Encode(document)
	require.NoError(t, err)
	return data
}

// process is a deployment of one process; its program chooses its behaviour.
func process(name string, generation uint64, program string) contracts.DesiredDeployment {
	return contracts.DesiredDeployment{
		Name: contracts.DeploymentName(name), Generation: generation,
		Score: contracts.ReconcileScore{
			Type: contracts.ScoreProcessV0,
			Data: fmt.Appendf(nil, `{"services":[{"name":"main","command":[%q]}]}`, program),
		},
	}
}

// container is a deployment of one container.
func container(name string, generation uint64, image string) contracts.DesiredDeployment {
	return contracts.DesiredDeployment{
		Name: contracts.DeploymentName(name), Generation: generation,
		Score: contracts.ReconcileScore{
			Type: contracts.ScorePodmanV0,
			Data: fmt.Appendf(nil, `{"services":[{"name":"main","image":%q}]}`, image),
		},
	}
}

// status returns what the agent says about a deployment.
func (b *bench) status(name string) agent.DeploymentStatus {
	b.t.Helper()
	deployments := b.agent.Status().Deployments
	i := slices.IndexFunc(deployments, func(d agent.DeploymentStatus) bool { return string(d.Name) == name })
	if i < 0 {
		return agent.DeploymentStatus{}
	}
	return deployments[i]
}

// phases returns name/phase/reason of all deployments of the last report sent.
func (b *bench) phases() []string {
	reports := b.reporter.sent()
	if len(reports) == 0 {
		return nil
	}
	return phasesOf(reports[len(reports)-1])
}

func phasesOf(report contracts.DeviceReport) []string {
	phases := []string{}
	for _, d := range report.Deployments {
		phases = append(phases, strings.TrimSuffix(fmt.Sprintf("%s/%s/%s", d.Name, d.Phase, d.Reason), "/"))
	}
	return phases
}

// onHost returns name@generation of what the host runs.
func (b *bench) onHost() []string {
	b.t.Helper()
	statuses, err := b.runtime.List(b.t.Context())
	require.NoError(b.t, err)
	running := []string{}
	for _, s := range statuses {
		running = append(running, fmt.Sprintf("%s@%d", s.Name, s.Generation))
	}
	return running
}

// pid returns the process of a deployment's only service.
func (b *bench) pid(name string) int {
	b.t.Helper()
	statuses, err := b.runtime.List(b.t.Context())
	require.NoError(b.t, err)
	for _, s := range statuses {
		if string(s.Name) == name {
			return s.Services[0].PID
		}
	}
	return 0
}

// reporter records what is sent.
type reporter struct {
	domain.ObservedStateReporter
	mu      sync.Mutex
	reports []contracts.DeviceReport
	at      []time.Time
	infos   []contracts.DeviceInfo
	beats   []contracts.Heartbeat
	beatsAt []time.Time
}

func (r *reporter) Report(ctx context.Context, report contracts.DeviceReport) error {
	err := r.ObservedStateReporter.Report(ctx, report)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reports, r.at = append(r.reports, report), append(r.at, time.Now())
	}
	return err
}

func (r *reporter) Info(ctx context.Context, info contracts.DeviceInfo) error {
	err := r.ObservedStateReporter.Info(ctx, info)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.infos = append(r.infos, info)
	}
	return err
}

func (r *reporter) Heartbeat(ctx context.Context, beat contracts.Heartbeat) error {
	err := r.ObservedStateReporter.Heartbeat(ctx, beat)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.beats, r.beatsAt = append(r.beats, beat), append(r.beatsAt, time.Now())
	}
	return err
}

func (r *reporter) sent() []contracts.DeviceReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.reports)
}

// heard is all that was sent so far.
type heard struct {
	at      []time.Time
	infos   []contracts.DeviceInfo
	beats   []contracts.Heartbeat
	beatsAt []time.Time
}

func (r *reporter) heard() heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	return heard{at: slices.Clone(r.at), infos: slices.Clone(r.infos), beats: slices.Clone(r.beats), beatsAt: slices.Clone(r.beatsAt)}
}

func (r *reporter) last(t *testing.T) contracts.DeviceReport {
	t.Helper()
	sent := r.sent()
	require.NotEmpty(t, sent)
	return sent[len(sent)-1]
}

// runtime counts the calls for each deployment, and runs one score type when kind
// is set.
type runtime struct {
	*memory.Runtime
	name string
	kind contracts.ScoreType

	mu      sync.Mutex
	applies map[contracts.DeploymentName][]time.Time
	removes map[contracts.DeploymentName]int
	lists   int
	// failing makes the calls of that name give its error.
	failing map[string]error
}

func newRuntime(inner *memory.Runtime) *runtime {
	return &runtime{
		Runtime: inner, name: "counting", applies: map[contracts.DeploymentName][]time.Time{},
		removes: map[contracts.DeploymentName]int{}, failing: map[string]error{},
	}
}

func (r *runtime) Name() string { return r.name }

func (r *runtime) Supports(score contracts.ScoreType) bool {
	if r.kind == "" {
		return r.Runtime.Supports(score)
	}
	return score == r.kind
}

func (r *runtime) fail(call string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing[call] = err
}

func (r *runtime) Apply(ctx context.Context, w domain.Workload, progress domain.Progress) error {
	r.mu.Lock()
	r.applies[w.Name] = append(r.applies[w.Name], time.Now())
	err := r.failing["apply"]
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.Runtime.Apply(ctx, w, progress)
}

func (r *runtime) Remove(ctx context.Context, name contracts.DeploymentName) error {
	r.mu.Lock()
	r.removes[name]++
	err := r.failing["remove"]
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.Runtime.Remove(ctx, name)
}

func (r *runtime) List(ctx context.Context) ([]domain.WorkloadStatus, error) {
	r.mu.Lock()
	r.lists++
	err := r.failing["list"]
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return r.Runtime.List(ctx)
}

func (r *runtime) listed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lists
}

func (r *runtime) applied(name string) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.applies[contracts.DeploymentName(name)])
}

func (r *runtime) removed() map[contracts.DeploymentName]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.removes)
}

// counting puts a counting runtime between the agent and the host.
func (b *bench) counting() *runtime {
	counting := newRuntime(b.runtime)
	b.runtimes = []domain.WorkloadRuntime{counting}
	return counting
}
