package operator_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
	"github.com/nationtech/harmony-fleet/domain/operator"
)

// fleet is an operator on an in-memory backend, in virtual time.
type fleet struct {
	t       *testing.T
	backend *memory.Fleet
	faults  *faults
	options operator.Options

	operator *operator.Operator
	stop     func()
	devices  map[contracts.DeviceID]*agent
	// key is the signing key, nil for testKey.
	key ed25519.PrivateKey
}

func testKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

// signer is the key that operators sign with from now on.
func (f *fleet) signer() ed25519.PrivateKey {
	if f.key != nil {
		return f.key
	}
	return testKey()
}

// inFleet runs a test in virtual time. The operator is not started.
func inFleet(t *testing.T, test func(f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		backend := memory.New()
		f := &fleet{
			t: t, backend: backend, faults: &faults{desired: backend.Desired(), events: backend.Events(), observed: backend.Observed(), devices: backend.Devices()},
			devices: map[contracts.DeviceID]*agent{},
		}
		defer f.end()
		test(f)
	})
}

func (f *fleet) start() {
	f.startWith(operator.Capabilities{
		Devices:     f.faults.registry(),
		Deployments: f.backend.Deployments(),
		Statuses:    f.faults.statuses(f.backend.Statuses()),
		Desired:     (*faultyDesired)(f.faults),
		Observed:    (*faultyObserved)(f.faults),
		Commands:    f.backend.Commands(),
		Events:      (*faultyEvents)(f.faults),
	})
}

func (f *fleet) startWith(capabilities operator.Capabilities) {
	ctx, cancel := context.WithCancel(f.t.Context())
	f.operator = operator.New(capabilities, f.signer(), f.options)
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.operator.Run(ctx); err != nil {
			f.t.Error(err)
		}
	})
	f.stop = func() {
		cancel()
		running.Wait()
		f.stop = nil
	}
	f.settle()
}

func (f *fleet) restart() {
	f.stop()
	f.start()
}

func (f *fleet) end() {
	if f.stop != nil {
		f.stop()
	}
	for _, a := range f.devices {
		a.leave()
	}
}

// settle lets the operator come to rest, statuses included.
func (f *fleet) settle() { f.pass(3 * time.Second) }

// pass lets virtual time go by.
func (f *fleet) pass(d time.Duration) {
	f.t.Helper()
	synctest.Wait()
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

func (f *fleet) register(id contracts.DeviceID, labels contracts.Labels) {
	f.t.Helper()
	_, err := f.backend.Devices().Create(f.t.Context(), domain.FleetDevice{ID: id, Labels: labels})
	require.NoError(f.t, err)
}

func (f *fleet) edit(id contracts.DeviceID, edit func(*domain.FleetDevice)) {
	f.t.Helper()
	_, err := domain.UpdateDevice(f.t.Context(), f.backend.Devices(), id, func(d *domain.FleetDevice) error { edit(d); return nil })
	require.NoError(f.t, err)
}

func (f *fleet) deregister(id contracts.DeviceID) {
	f.t.Helper()
	device, err := f.backend.Devices().Get(f.t.Context(), id)
	require.NoError(f.t, err)
	require.NoError(f.t, f.backend.Devices().Delete(f.t.Context(), id, device.Revision))
}

// process returns a deployment of one process for the devices with the labels.
func process(name contracts.DeploymentName, labels map[string]string, command string) domain.FleetDeployment {
	data, _ := json.Marshal(contracts.ProcessV0{Services: []contracts.ProcessService{{Name: "main", Command: contracts.Command{command}}}})
	return domain.FleetDeployment{Name: name, Spec: contracts.DeploymentSpec{
		TargetSelector: &contracts.LabelSelector{MatchLabels: labels},
		Score:          contracts.ReconcileScore{Type: contracts.ScoreProcessV0, Data: data},
	}}
}

func (f *fleet) apply(d domain.FleetDeployment) {
	f.t.Helper()
	_, _, err := domain.ApplyDeployment(f.t.Context(), f.backend.Deployments(), d)
	require.NoError(f.t, err)
}

func (f *fleet) delete(name contracts.DeploymentName) {
	f.t.Helper()
	stored, err := f.backend.Deployments().Get(f.t.Context(), name)
	require.NoError(f.t, err)
	require.NoError(f.t, f.backend.Deployments().Delete(f.t.Context(), name, stored.Revision))
}

// document returns the verified document of a device, nil when there is none.
func (f *fleet) document(id contracts.DeviceID) *contracts.DesiredState {
	f.t.Helper()
	stored, err := f.backend.Desired().Get(f.t.Context(), id)
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	require.NoError(f.t, err)
	signed, err := contracts.Decode[contracts.Signed](stored.Envelope)
	require.NoError(f.t, err)
	public, _ := f.signer().Public().(ed25519.PublicKey)
	require.NoError(f.t, signed.Verify([]ed25519.PublicKey{public}))
	state, err := contracts.Decode[contracts.DesiredState](signed.Document)
	require.NoError(f.t, err)
	require.Equal(f.t, id, state.Device)
	again, err := contracts.Encode(state)
	require.NoError(f.t, err)
	require.Equal(f.t, string(again), string(signed.Document), "the document has the canonical bytes")
	return &state
}

// runs returns the names and commands in a device's document.
func (f *fleet) runs(id contracts.DeviceID) map[contracts.DeploymentName]string {
	f.t.Helper()
	state := f.document(id)
	if state == nil {
		return nil
	}
	commands := map[contracts.DeploymentName]string{}
	for _, d := range state.Deployments {
		score, err := d.Score.ProcessV0()
		require.NoError(f.t, err)
		commands[d.Name] = score.Services[0].Command[0]
	}
	return commands
}

func (f *fleet) status(name contracts.DeploymentName) *contracts.DeploymentStatus {
	f.t.Helper()
	status, err := f.backend.Statuses().Get(f.t.Context(), name)
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	require.NoError(f.t, err)
	return &status
}

// events returns the recorded events of one kind.
func (f *fleet) events(kind contracts.EventKind) []contracts.Event {
	f.t.Helper()
	var events []contracts.Event
	err := f.backend.Events().Read(f.t.Context(), domain.EventQuery{Kind: kind}, func(e contracts.Event) error {
		events = append(events, e)
		return nil
	})
	require.NoError(f.t, err)
	return events
}

// agent is a device that does what its document says, as far as a report goes.
type agent struct {
	fleet  *fleet
	id     contracts.DeviceID
	link   *memory.Device
	cancel func()
	done   sync.WaitGroup

	mu       sync.Mutex
	report   contracts.DeviceReport
	beats    uint64
	phases   map[contracts.DeploymentName]contracts.DeploymentReport
	silent   bool // sends heartbeats alone
	requests int
}

// agent starts a device: it says what it is and then sends a heartbeat and, when
// its document changed, a report every second.
func (f *fleet) agent(id contracts.DeviceID, labels contracts.Labels) *agent {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	a := &agent{fleet: f, id: id, link: f.backend.Device(id), cancel: cancel, phases: map[contracts.DeploymentName]contracts.DeploymentReport{}}
	f.devices[id] = a
	require.NoError(f.t, a.link.Info(ctx, contracts.DeviceInfo{AgentVersion: "1.0.0", Labels: labels}))
	a.done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			a.tick(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	a.done.Go(func() {
		_ = a.link.Serve(ctx, func(_ context.Context, verb contracts.Verb, _ []byte) []byte {
			a.mu.Lock()
			defer a.mu.Unlock()
			if verb == contracts.VerbReport {
				a.requests++
				if !a.silent {
					_ = a.link.Info(ctx, contracts.DeviceInfo{AgentVersion: "1.0.0", Labels: labels})
					_ = a.link.Report(ctx, a.report)
				}
			}
			return domain.Answer(contracts.Empty{}, nil)
		})
	})
	return a
}

func (a *agent) leave() {
	a.cancel()
	a.done.Wait()
	delete(a.fleet.devices, a.id)
}

// set makes the agent report a phase for a deployment from now on.
func (a *agent) set(name contracts.DeploymentName, phase contracts.Phase, reason contracts.Reason) {
	a.mu.Lock()
	a.phases[name] = contracts.DeploymentReport{Phase: phase, Reason: reason}
	a.mu.Unlock()
	a.fleet.settle()
}

// asked returns how often the agent was asked to report again.
func (a *agent) asked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

// edit changes what the agent says.
func (a *agent) edit(edit func(*agent)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	edit(a)
}

func (a *agent) tick(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.next(ctx)
	if !a.silent && !sameReport(next, a.report) {
		next.Sequence = a.report.Sequence + 1
		a.report = next
		_ = a.link.Report(ctx, next)
	}
	a.beats++
	_ = a.link.Heartbeat(ctx, contracts.Heartbeat{
		Sequence: a.beats, AppliedGeneration: a.report.AppliedGeneration,
		ReportSequence: a.report.Sequence, AgentVersion: "1.0.0",
	})
}

// next is the report that the stored document calls for.
func (a *agent) next(ctx context.Context) contracts.DeviceReport {
	next := contracts.DeviceReport{AppliedGeneration: a.report.AppliedGeneration, Refused: a.report.Refused, Deployments: a.report.Deployments}
	stored, err := a.fleet.backend.Desired().Get(ctx, a.id)
	if err != nil {
		return next
	}
	signed, err := contracts.Decode[contracts.Signed](stored.Envelope)
	if err != nil {
		return next
	}
	state, err := contracts.Decode[contracts.DesiredState](signed.Document)
	if err != nil || state.Generation < next.AppliedGeneration {
		return next
	}
	next.AppliedGeneration, next.Deployments = state.Generation, nil
	for _, d := range state.Deployments {
		r := contracts.DeploymentReport{Phase: contracts.PhaseRunning}
		if set, ok := a.phases[d.Name]; ok {
			r = set
		}
		r.Name, r.Generation = d.Name, d.Generation
		next.Deployments = append(next.Deployments, r)
	}
	return next
}

func sameReport(a, b contracts.DeviceReport) bool {
	return a.AppliedGeneration == b.AppliedGeneration && a.Refused == b.Refused &&
		slices.EqualFunc(a.Deployments, b.Deployments, func(x, y contracts.DeploymentReport) bool {
			return x.Name == y.Name && x.Generation == y.Generation && x.Phase == y.Phase && x.Reason == y.Reason
		})
}

// names returns the sorted keys of a map.
func names[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
