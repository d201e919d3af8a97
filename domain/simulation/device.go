package simulation

import (
	"context"
	"crypto/ed25519"
	"sync/atomic"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// device is one simulated device: its disk, its workloads and its connection
// last; its agent comes and goes.
type device struct {
	id      contracts.DeviceID
	link    *memory.Device
	weather *Weather
	runtime *memory.Runtime
	disk    *agent.MemoryStore

	// jitter spreads the agent's timers, from the seed.
	jitter func() float64

	stop    context.CancelFunc
	crashed *atomic.Bool
	stopped chan error
}

func (d *device) running() bool { return d.stop != nil }

// start runs the agent, as a boot would.
func (d *device) start(ctx context.Context, recorder *Recorder, trusted ed25519.PublicKey) {
	running, cancel := context.WithCancel(ctx)
	d.stop, d.crashed, d.stopped = cancel, &atomic.Bool{}, make(chan error, 1)
	one := agent.New(
		agent.Identity{Device: d.id, TrustedKeys: []ed25519.PublicKey{trusted}},
		&mortalStore{Store: d.disk, dead: d.crashed},
		agent.Capabilities{
			Source:   d.weather.Source(d.link),
			Reporter: d.weather.Reporter(d.link),
			Link:     d.link,
			Commands: d.link,
			Runtimes: []domain.WorkloadRuntime{recorder.Runtime(d.id, d.runtime)},
		},
		agent.Options{Version: "v0.0.0-simulated", Jitter: d.jitter},
	)
	stopped := d.stopped
	go func() { stopped <- one.Run(running) }()
}

// crash ends the agent as a power cut would: nothing reaches the disk any more.
func (d *device) crash() error {
	d.crashed.Store(true)
	d.stop()
	d.stop = nil
	return <-d.stopped
}

// mortalStore is a disk that takes no more writes once the power is cut.
type mortalStore struct {
	agent.Store
	dead *atomic.Bool
}

var errPowerCut = domain.Errorf(domain.ErrUnavailable, "the power is cut")

func (s *mortalStore) SaveDesired(envelope []byte) error {
	if s.dead.Load() {
		return errPowerCut
	}
	return s.Store.SaveDesired(envelope)
}

func (s *mortalStore) SaveReport(report contracts.DeviceReport) error {
	if s.dead.Load() {
		return errPowerCut
	}
	return s.Store.SaveReport(report)
}
