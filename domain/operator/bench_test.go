package operator

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// sink takes documents and keeps none.
type sink struct{ domain.DesiredStatePublisher }

func (sink) Publish(_ context.Context, documents []domain.DesiredDocument) []domain.PublishResult {
	results := make([]domain.PublishResult, len(documents))
	for i := range results {
		results[i].Revision = documents[i].Revision + 1
	}
	return results
}

// BenchmarkCompose composes, hashes and signs documents, on all processors.
func BenchmarkCompose(b *testing.B) {
	static := contracts.ReconcileScore{Type: contracts.ScoreProcessV0, Data: []byte(`{"services":[{"name":"main","command":["run","--forever"]}]}`)}
	for name, score := range map[string]contracts.ReconcileScore{"static": static, "template": podmanScore("1")} {
		b.Run(name, func(b *testing.B) {
			c := composerForTests()
			spec := compile("web", 1, score)
			require.Empty(b, spec.problem)
			labels := packLabels(contracts.Labels{"site": "paris"})
			b.RunParallel(func(pb *testing.PB) {
				const batch = 100
				p := publisher{composer: c, store: sink{}}
				tasks := make([]task, batch)
				for i := range tasks {
					id := contracts.DeviceID(fmt.Sprintf("device-%05d", i))
					tasks[i] = task{
						id: id, assigned: []assigned{{spec: spec, generation: 1}},
						labels: func() contracts.Labels { return contracts.EffectiveLabels(id, labels.labels(), nil) },
					}
				}
				for done := 0; ; done++ {
					if done%batch == 0 && done > 0 {
						p.do(b.Context(), tasks)
					}
					if !pb.Next() {
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "docs/s")
		})
	}
}

// BenchmarkHeartbeat is one heartbeat of one of 100,000 devices, as a fleet at
// rest sends them.
func BenchmarkHeartbeat(b *testing.B) {
	const devices = 100_000
	e := newEngine(New(Capabilities{}, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), Options{}), make(chan contracts.Event, devices))
	e.recovering, e.now = false, time.Now()
	beats := make([]domain.Observation, devices)
	for n := range beats {
		d := e.device(contracts.DeviceID(fmt.Sprintf("device-%06d", n)))
		d.registered, d.hasInfo, d.hasReport, d.stored.generation = true, true, true, 1
		beats[n] = domain.Observation{Device: d.id, At: e.now, Heartbeat: &contracts.Heartbeat{AppliedGeneration: 1}}
		e.observe(beats[n])
	}
	n := 0
	for b.Loop() {
		e.now = time.Now()
		o := &beats[n%devices]
		o.At = e.now
		e.observe(*o)
		n += 7919 // in no order that a cache would like
	}
	require.Zero(b, e.dirty.len())
	require.Empty(b, e.attention)
}

// BenchmarkRecover100k starts an operator of a fleet of 100,000 devices that
// are as they should be, and measures the time until it is up to date and the
// memory that it keeps.
func BenchmarkRecover100k(b *testing.B) {
	const devices = 100_000
	o, backend := largeFleet(b, devices)
	for b.Loop() {
		b.StopTimer()
		before := heap()
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		b.StartTimer()
		go func() { ended <- o.Run(ctx) }()
		awaitConverged(b, o)
		b.StopTimer()
		require.Zero(b, o.Status().Published, "nothing had changed")
		require.Equal(b, devices, o.Status().Online)
		b.ReportMetric(float64(heap()-before)/devices, "B/device")
		cancel()
		require.NoError(b, <-ended)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/devices, "ns/device")
	runtime.KeepAlive(backend)
}

// largeFleet is a fleet of 20 sites with three deployments, all running.
func largeFleet(b *testing.B, devices int) (*Operator, *memory.Fleet) {
	b.Helper()
	ctx := b.Context()
	backend := memory.New()
	for _, name := range []contracts.DeploymentName{"web", "metrics", "backup"} {
		_, _, err := domain.ApplyDeployment(ctx, backend.Deployments(), domain.FleetDeployment{
			Name: name, Spec: contracts.DeploymentSpec{TargetSelector: &contracts.LabelSelector{}, Score: podmanScore("1")},
		})
		require.NoError(b, err)
	}
	for n := range devices {
		id := contracts.DeviceID(fmt.Sprintf("device-%06d", n))
		_, err := backend.Devices().Create(ctx, domain.FleetDevice{ID: id, Labels: contracts.Labels{"site": fmt.Sprintf("site-%d", n%20)}})
		require.NoError(b, err)
		link := backend.Device(id)
		require.NoError(b, link.Info(ctx, contracts.DeviceInfo{
			AgentVersion: "1.0.0", Labels: contracts.Labels{"arch": "arm64", "os": "linux", "model": fmt.Sprintf("model-%d", n%10)},
			Inventory: contracts.Inventory{Hostname: string(id), OS: "Debian GNU/Linux 13", Kernel: "6.12", Architecture: "arm64", CPUs: 4, Serial: fmt.Sprint(n)},
		}))
		report := contracts.DeviceReport{Sequence: 1, AppliedGeneration: 1}
		for _, name := range []contracts.DeploymentName{"backup", "metrics", "web"} {
			report.Deployments = append(report.Deployments, contracts.DeploymentReport{
				Name: name, Generation: 1, Phase: contracts.PhaseRunning, Since: time.Now(),
				Services: []contracts.ServiceReport{{Name: "web", Image: "registry.example/web:1", State: contracts.ServiceRunning}},
			})
		}
		require.NoError(b, link.Report(ctx, report))
		require.NoError(b, link.Heartbeat(ctx, contracts.Heartbeat{Sequence: 1, AppliedGeneration: 1, ReportSequence: 1, AgentVersion: "1.0.0"}))
	}
	o := New(Capabilities{
		Devices: backend.Devices(), Deployments: backend.Deployments(), Statuses: backend.Statuses(),
		Desired: backend.Desired(), Observed: backend.Observed(), Commands: backend.Commands(), Events: backend.Events(),
	}, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), Options{HeartbeatInterval: time.Hour})
	first, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- o.Run(first) }()
	awaitConverged(b, o)
	cancel()
	require.NoError(b, <-ended)
	return o, backend
}

func awaitConverged(b *testing.B, o *Operator) {
	b.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if o.Status().Phase == PhaseConverged {
			return
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc) //nolint:gosec // below 2^63
}
