package conformance

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// ObservedStateFixture is both sides of observed state, nothing said yet.
type ObservedStateFixture struct {
	Consumer domain.ObservedStateConsumer
	// Second is another client of the same backend.
	Second domain.ObservedStateConsumer
	// Device connects a device.
	Device func(t *testing.T, id contracts.DeviceID) ObservedStateDevice
	// Restart stops the backend and starts it again with its durable data. Calls
	// may give ErrUnavailable for a while after it returned.
	Restart func(t *testing.T)
	// Send puts bytes where a device's reports of that kind go, past the reporter.
	Send func(t *testing.T, device contracts.DeviceID, kind contracts.ReportKind, data []byte)
}

// ObservedStateDevice is one device's side. SetConnected cuts and restores its
// link, nil when the fixture cannot; it returns once the link is as asked for.
type ObservedStateDevice struct {
	Reporter     domain.ObservedStateReporter
	SetConnected func(t *testing.T, connected bool)
}

// ObservedState checks an implementation of domain.ObservedStateConsumer and of
// domain.ObservedStateReporter.
func ObservedState(t *testing.T, open func(t *testing.T) ObservedStateFixture) {
	t.Helper()
	restart := named("Restart", func(_ *testing.T, f ObservedStateFixture) bool { return f.Restart != nil })
	send := named("Send", func(_ *testing.T, f ObservedStateFixture) bool { return f.Send != nil })
	link := named("SetConnected", func(t *testing.T, f ObservedStateFixture) bool { return f.Device(t, "asked").SetConnected != nil })
	checkAll(t, open, []obligation[ObservedStateFixture]{
		{name: "consume of nothing is caught up at once", check: observedNothing},
		{name: "consume gives the last of each kind, then caught up once, then what comes", check: observedLastThenLive},
		{name: "documents arrive whole", check: observedWhole},
		{name: "exactly one thing is in each observation", check: observedOneThing},
		{name: "what one device says comes in order", check: observedOrder},
		{name: "two consumers see everything", check: observedTwice},
		{name: "consume that is cancelled returns nil and handles nothing more", check: observedCancelled},
		{name: "consume returns the error of its handler", check: observedHandlerError},
		{name: "forget", check: observedForgotten},
		{name: "forget of nothing", check: observedForgottenNothing},
		{name: "device without a link is told at once and keeps nothing", check: observedNoLink, needs: link},
		{name: "what does not decode is left out", check: observedGarbage, needs: send},
		{name: "info and report are there after a restart", check: observedRestart, needs: restart},
		{name: "consume and report go on across a restart", check: observedGoesOn, needs: restart},
		{name: "read of the whole fleet", check: observedRead},
	})
}

func sampleInfo(version string) contracts.DeviceInfo {
	return contracts.DeviceInfo{
		Labels:       contracts.Labels{"arch": "arm64"},
		AgentVersion: version,
		Inventory:    contracts.Inventory{Hostname: "pi", CPUs: 4, MemoryBytes: 8 << 30, Runtimes: []string{"podman 4.3.1"}},
		BootID:       "b0071d",
		StartedAt:    time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
	}
}

func sampleReport(sequence uint64) contracts.DeviceReport {
	code := 3
	return contracts.DeviceReport{
		Sequence:          sequence,
		AppliedGeneration: 7,
		Deployments: []contracts.DeploymentReport{{
			Name: "web", Generation: 2, Phase: contracts.PhaseFailed, Reason: contracts.ReasonCrashLoop,
			Message: "service web ends again and again", Since: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
			Services: []contracts.ServiceReport{{
				Name: "web", Image: "registry.example/web:1", ImageDigest: "sha256:0", State: contracts.ServiceRestarting,
				Restarts: 5, ExitCode: &code,
			}},
		}},
		Refused: &contracts.Refusal{Reason: contracts.RefusedBadSignature, Generation: 8, Message: "why"},
		Upgrade: &contracts.UpgradeReport{Phase: contracts.UpgradeStaging, Version: "1.2.3"},
	}
}

// observer keeps what a consumer delivers.
type observer struct {
	*running
	mu   sync.Mutex
	seen []domain.Observation
}

// observe consumes until the subtest ends, and begins again when it must.
func observe(t *testing.T, consumer domain.ObservedStateConsumer) *observer {
	t.Helper()
	o := &observer{}
	o.running = start(t, func(ctx context.Context) error {
		for {
			if err := consumer.Consume(ctx, o.add); !errors.Is(err, domain.ErrUnavailable) {
				return err
			}
		}
	})
	return o
}

func (o *observer) add(observation domain.Observation) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, observation)
	return nil
}

func (o *observer) all() []domain.Observation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

func (o *observer) awaits(t *testing.T, what string, match func(domain.Observation) bool) domain.Observation {
	t.Helper()
	eventually(t, func() bool { return slices.ContainsFunc(o.all(), match) }, "the consumer must deliver %s", what)
	all := o.all()
	return all[slices.IndexFunc(all, match)]
}

func (o *observer) caughtUp(t *testing.T) []domain.Observation {
	t.Helper()
	isMark := func(o domain.Observation) bool { return o.CaughtUp }
	o.awaits(t, "the caught-up mark", isMark)
	all := o.all()
	return all[:slices.IndexFunc(all, isMark)]
}

func isInfo(device contracts.DeviceID, version string) func(domain.Observation) bool {
	return func(o domain.Observation) bool {
		return o.Device == device && o.Info != nil && o.Info.AgentVersion == version
	}
}

func isReport(device contracts.DeviceID, sequence uint64) func(domain.Observation) bool {
	return func(o domain.Observation) bool {
		return o.Device == device && o.Report != nil && o.Report.Sequence == sequence
	}
}

func isHeartbeat(device contracts.DeviceID, sequence uint64) func(domain.Observation) bool {
	return func(o domain.Observation) bool {
		return o.Device == device && o.Heartbeat != nil && o.Heartbeat.Sequence == sequence
	}
}

// settled waits until a consumer that begins now would get it.
func settled(t *testing.T, f ObservedStateFixture, match func(domain.Observation) bool) {
	t.Helper()
	o := observe(t, f.Second)
	o.awaits(t, "what was said", match)
	require.NoError(t, o.end(t))
}

func observedNothing(t *testing.T, f ObservedStateFixture) {
	o := observe(t, f.Consumer)
	require.Empty(t, o.caughtUp(t))
	require.Empty(t, o.all()[0].Device)
}

func observedLastThenLive(t *testing.T, f ObservedStateFixture) {
	ctx := t.Context()
	first, second := f.Device(t, "pi-1").Reporter, f.Device(t, "pi-2").Reporter
	for n := uint64(1); n <= 3; n++ {
		require.NoError(t, first.Report(ctx, sampleReport(n)))
		require.NoError(t, first.Heartbeat(ctx, contracts.Heartbeat{Sequence: n}))
	}
	require.NoError(t, first.Info(ctx, sampleInfo("1")))
	require.NoError(t, second.Info(ctx, sampleInfo("1")))
	settled(t, f, isReport("pi-1", 3))
	settled(t, f, isHeartbeat("pi-1", 3))
	settled(t, f, isInfo("pi-1", "1"))
	settled(t, f, isInfo("pi-2", "1"))

	o := observe(t, f.Consumer)
	before := o.caughtUp(t)
	for _, match := range []func(domain.Observation) bool{
		isReport("pi-1", 3), isHeartbeat("pi-1", 3), isInfo("pi-1", "1"), isInfo("pi-2", "1"),
	} {
		require.True(t, slices.ContainsFunc(before, match), "the last of each kind comes before the mark")
	}
	require.Len(t, before, 4, "the last of each kind alone")

	require.NoError(t, first.Report(ctx, sampleReport(4)))
	o.awaits(t, "the report", isReport("pi-1", 4))
	require.NoError(t, second.Heartbeat(ctx, contracts.Heartbeat{Sequence: 9}))
	o.awaits(t, "the heartbeat", isHeartbeat("pi-2", 9))
	require.NoError(t, second.Info(ctx, sampleInfo("2")))
	o.awaits(t, "the info", isInfo("pi-2", "2"))
	marks := 0
	for _, observation := range o.all() {
		if observation.CaughtUp {
			marks++
		}
	}
	require.Equal(t, 1, marks)
}

func observedWhole(t *testing.T, f ObservedStateFixture) {
	reporter := f.Device(t, "pi-1").Reporter
	heartbeat := contracts.Heartbeat{Sequence: 1, AppliedGeneration: contracts.MaxGeneration, ReportSequence: 3, AgentVersion: "1.2.3"}
	require.NoError(t, reporter.Info(t.Context(), sampleInfo("1.2.3")))
	require.NoError(t, reporter.Report(t.Context(), sampleReport(3)))
	require.NoError(t, reporter.Heartbeat(t.Context(), heartbeat))
	o := observe(t, f.Consumer)
	require.Equal(t, sampleInfo("1.2.3"), *o.awaits(t, "the info", isInfo("pi-1", "1.2.3")).Info)
	require.Equal(t, sampleReport(3), *o.awaits(t, "the report", isReport("pi-1", 3)).Report)
	require.Equal(t, heartbeat, *o.awaits(t, "the heartbeat", isHeartbeat("pi-1", 1)).Heartbeat)
}

func observedOneThing(t *testing.T, f ObservedStateFixture) {
	reporter := f.Device(t, "pi-1").Reporter
	o := observe(t, f.Consumer)
	require.NoError(t, reporter.Info(t.Context(), sampleInfo("1")))
	require.NoError(t, reporter.Report(t.Context(), sampleReport(1)))
	require.NoError(t, reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))
	o.awaits(t, "the info", isInfo("pi-1", "1"))
	o.awaits(t, "the report", isReport("pi-1", 1))
	o.awaits(t, "the heartbeat", isHeartbeat("pi-1", 1))
	for _, observation := range o.all() {
		things := 0
		for _, there := range []bool{
			observation.Info != nil, observation.Report != nil, observation.Heartbeat != nil, observation.CaughtUp,
		} {
			if there {
				things++
			}
		}
		require.Equal(t, 1, things, "%+v", observation)
		if !observation.CaughtUp {
			require.Equal(t, contracts.DeviceID("pi-1"), observation.Device)
			require.WithinDuration(t, time.Now(), observation.At, time.Minute)
		}
	}
}

func observedOrder(t *testing.T, f ObservedStateFixture) {
	const last = 100
	reporter := f.Device(t, "pi-1").Reporter
	o := observe(t, f.Consumer)
	for n := uint64(1); n <= last; n++ {
		require.NoError(t, reporter.Report(t.Context(), sampleReport(n)))
	}
	o.awaits(t, "the last report", isReport("pi-1", last))
	var previous uint64
	for _, observation := range o.all() {
		if observation.Report != nil {
			require.GreaterOrEqual(t, observation.Report.Sequence, previous)
			previous = observation.Report.Sequence
		}
	}
}

func observedTwice(t *testing.T, f ObservedStateFixture) {
	reporter := f.Device(t, "pi-1").Reporter
	observers := []*observer{observe(t, f.Consumer), observe(t, f.Consumer), observe(t, f.Second)}
	for _, o := range observers {
		o.caughtUp(t)
	}
	require.NoError(t, reporter.Info(t.Context(), sampleInfo("1")))
	require.NoError(t, reporter.Report(t.Context(), sampleReport(1)))
	require.NoError(t, reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))
	for _, o := range observers {
		o.awaits(t, "the info", isInfo("pi-1", "1"))
		o.awaits(t, "the report", isReport("pi-1", 1))
		o.awaits(t, "the heartbeat", isHeartbeat("pi-1", 1))
	}
}

func observedCancelled(t *testing.T, f ObservedStateFixture) {
	reporter := f.Device(t, "pi-1").Reporter
	o := observe(t, f.Consumer)
	o.caughtUp(t)
	require.NoError(t, o.end(t))
	before := len(o.all())
	require.NoError(t, reporter.Report(t.Context(), sampleReport(1)))
	settled(t, f, isReport("pi-1", 1))
	require.Len(t, o.all(), before)
}

func observedHandlerError(t *testing.T, f ObservedStateFixture) {
	enough := errors.New("enough")
	require.NoError(t, f.Device(t, "pi-1").Reporter.Report(t.Context(), sampleReport(1)))
	settled(t, f, isReport("pi-1", 1))
	for _, match := range []func(domain.Observation) bool{
		isReport("pi-1", 1),
		func(o domain.Observation) bool { return o.CaughtUp },
	} {
		consuming := start(t, func(ctx context.Context) error {
			return f.Consumer.Consume(ctx, func(o domain.Observation) error {
				if match(o) {
					return enough
				}
				return nil
			})
		})
		require.ErrorIs(t, consuming.wait(t), enough)
	}
}

func observedForgotten(t *testing.T, f ObservedStateFixture) {
	for _, device := range []contracts.DeviceID{"pi-1", "pi-2"} {
		reporter := f.Device(t, device).Reporter
		require.NoError(t, reporter.Info(t.Context(), sampleInfo("1")))
		require.NoError(t, reporter.Report(t.Context(), sampleReport(1)))
		require.NoError(t, reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))
		settled(t, f, isInfo(device, "1"))
		settled(t, f, isReport(device, 1))
		settled(t, f, isHeartbeat(device, 1))
	}
	require.NoError(t, f.Consumer.Forget(t.Context(), "pi-1"))
	left := observe(t, f.Second).caughtUp(t)
	require.Len(t, left, 3)
	for _, observation := range left {
		require.Equal(t, contracts.DeviceID("pi-2"), observation.Device)
	}

	require.NoError(t, f.Device(t, "pi-1").Reporter.Report(t.Context(), sampleReport(2)))
	settled(t, f, isReport("pi-1", 2))
}

func observedForgottenNothing(t *testing.T, f ObservedStateFixture) {
	require.NoError(t, f.Consumer.Forget(t.Context(), "pi-1"))
}

func observedNoLink(t *testing.T, f ObservedStateFixture) {
	device := f.Device(t, "pi-1")
	o := observe(t, f.Consumer)
	o.caughtUp(t)
	device.SetConnected(t, false)
	requireAtOnce(t, func() {
		assert.ErrorIs(t, device.Reporter.Info(t.Context(), sampleInfo("1")), domain.ErrUnavailable)
		assert.ErrorIs(t, device.Reporter.Report(t.Context(), sampleReport(1)), domain.ErrUnavailable)
		assert.ErrorIs(t, device.Reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}), domain.ErrUnavailable)
	})
	device.SetConnected(t, true)
	require.NoError(t, device.Reporter.Report(t.Context(), sampleReport(2)))
	o.awaits(t, "the report after the link is back", isReport("pi-1", 2))
	for _, observation := range o.all() {
		require.True(t, observation.CaughtUp || isReport("pi-1", 2)(observation), "nothing is kept: %+v", observation)
	}
}

func observedGarbage(t *testing.T, f ObservedStateFixture) {
	reporter := f.Device(t, "pi-1").Reporter
	live := observe(t, f.Consumer)
	live.caughtUp(t)
	for kind, garbage := range map[contracts.ReportKind]string{
		contracts.ReportState: `{"sequence":2,"deployments":[{"name":"Not A Name"}]}`,
		contracts.ReportInfo:  `{"labels":{"not a key":"x"}}`,
	} {
		for _, data := range []string{"", "not json", garbage} {
			f.Send(t, "pi-1", kind, []byte(data))
		}
	}
	require.NoError(t, reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))
	settled(t, f, isHeartbeat("pi-1", 1))
	require.NoError(t, reporter.Report(t.Context(), sampleReport(1)))
	live.awaits(t, "the report after the garbage", isReport("pi-1", 1))
	for _, observation := range live.all() {
		require.Nil(t, observation.Info)
		require.True(t, observation.Report == nil || observation.Report.Sequence == 1, "%+v", observation)
	}
}

func observedRestart(t *testing.T, f ObservedStateFixture) {
	reporter := f.Device(t, "pi-1").Reporter
	require.NoError(t, reporter.Info(t.Context(), sampleInfo("1")))
	require.NoError(t, reporter.Report(t.Context(), sampleReport(1)))
	settled(t, f, isInfo("pi-1", "1"))
	settled(t, f, isReport("pi-1", 1))
	f.Restart(t)
	o := observe(t, f.Consumer)
	o.awaits(t, "the info", isInfo("pi-1", "1"))
	o.awaits(t, "the report", isReport("pi-1", 1))
}

func observedGoesOn(t *testing.T, f ObservedStateFixture) {
	reporter := f.Device(t, "pi-1").Reporter
	o := observe(t, f.Consumer)
	o.caughtUp(t)
	f.Restart(t)
	// Sending is at most once: the device says it again until it is heard.
	eventually(t, func() bool {
		for _, err := range []error{
			reporter.Report(t.Context(), sampleReport(1)),
			reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}),
		} {
			if err != nil {
				assert.ErrorIs(t, err, domain.ErrUnavailable)
			}
		}
		return slices.ContainsFunc(o.all(), isReport("pi-1", 1)) && slices.ContainsFunc(o.all(), isHeartbeat("pi-1", 1))
	}, "the consumer must hear of the device again")
	require.NoError(t, o.end(t))
}

func observedRead(t *testing.T, f ObservedStateFixture) {
	for _, device := range []contracts.DeviceID{"pi-1", "pi-2"} {
		require.NoError(t, f.Device(t, device).Reporter.Report(t.Context(), sampleReport(1)))
		settled(t, f, isReport(device, 1))
	}
	state, err := domain.ReadFleetState(bounded(t), f.Consumer)
	require.NoError(t, err)
	require.Equal(t, []contracts.DeviceID{"pi-1", "pi-2"}, state.Devices())
	require.Equal(t, sampleReport(1), *state.Device("pi-1").Report)
}
