package agent

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Capabilities are what the agent needs of its surroundings; all are required,
// but there may be no runtime at all, and no commands on the host.
type Capabilities struct {
	Source   domain.DesiredStateSource
	Reporter domain.ObservedStateReporter
	Link     domain.Link
	Commands domain.CommandServer
	// Runtimes in order of preference: a score runs on the first that supports
	// its type.
	Runtimes []domain.WorkloadRuntime
	// HostCommands runs commands on the host. It may be nil, for none.
	HostCommands domain.CommandRunner
}

// Identity is who the agent is and whom it obeys.
type Identity struct {
	Device contracts.DeviceID
	// TrustedKeys are the fleet's keys, pinned at enrollment. Without any, no
	// desired state is accepted.
	TrustedKeys []ed25519.PublicKey
}

// Agent is the engine of one device.
type Agent struct {
	identity Identity
	store    Store
	link     domain.Link
	source   domain.DesiredStateSource
	reporter domain.ObservedStateReporter
	commands domain.CommandServer
	// hostCommands may be nil.
	hostCommands domain.CommandRunner
	options      Options
	log          *slog.Logger
	startedAt    time.Time
	gate         *gate
	sessions     *logSessions
	execs        chan struct{} // holds one token for each command that runs
	running      sync.WaitGroup
	// keeping is held while desired state is written and adopted. It is taken
	// before mu.
	keeping sync.Mutex

	// Bells wake the goroutine that waits for something to change.
	reportBell chan struct{}
	beatBell   chan struct{}
	keepBell   chan struct{}

	// mu protects what follows, and everything in hosts and tasks. It is never
	// held while the store or a capability is called, but for the Name and Supports
	// of a runtime.
	mu    sync.Mutex
	clock uint64
	hosts []*host
	tasks map[contracts.DeploymentName]*task
	desired
	reporting
	linkState domain.LinkState
	beatNow   bool
	lastBeat  time.Time
}

// New returns an agent that does nothing before Run.
func New(identity Identity, store Store, capabilities Capabilities, options Options) *Agent {
	options = options.withDefaults()
	a := &Agent{
		identity:     identity,
		store:        store,
		link:         capabilities.Link,
		source:       capabilities.Source,
		reporter:     capabilities.Reporter,
		commands:     capabilities.Commands,
		hostCommands: capabilities.HostCommands,
		options:      options,
		log:          options.Logger,
		startedAt:    time.Now(),
		gate:         newGate(options.MaxConcurrent),
		sessions:     newLogSessions(),
		execs:        make(chan struct{}, maxExecs),
		reportBell:   make(chan struct{}, 1),
		beatBell:     make(chan struct{}, 1),
		keepBell:     make(chan struct{}, 1),
		tasks:        map[contracts.DeploymentName]*task{},
	}
	a.acceptance.identity = identity
	for _, runtime := range capabilities.Runtimes {
		a.hosts = append(a.hosts, &host{runtime: runtime, bell: make(chan struct{}, 1)})
	}
	return a
}

// Run is the agent's life; call it once. It begins with the desired state on
// disk, without waiting for a connection, and blocks until ctx is cancelled;
// then it stops what it does, leaves the workloads running, waits for all it
// started and returns nil. The only error is ErrInvalid, at once, when the
// device's ID or the version cannot be used.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.identity.Device.Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "the agent's device ID")
	}
	if err := (contracts.Heartbeat{AgentVersion: a.options.Version}).Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "the agent's version")
	}
	a.restoreReport(ctx)
	a.restoreDesired(ctx)
	for i, h := range a.hosts {
		a.running.Go(func() { a.watchHost(ctx, i) })
		a.forever(ctx, "watch of "+h.runtime.Name(), func(ctx context.Context) error {
			return h.runtime.Watch(ctx, func(contracts.DeploymentName) { ring(h.bell) })
		})
	}
	a.running.Go(func() { a.runReports(ctx) })
	a.running.Go(func() { a.runHeartbeats(ctx) })
	a.running.Go(func() { a.keepTrying(ctx) })
	a.forever(ctx, "link", func(ctx context.Context) error { return a.link.Watch(ctx, a.linked) })
	a.forever(ctx, "desired state", func(ctx context.Context) error {
		return a.source.Follow(ctx, a.heldGeneration, func(envelope []byte) { a.receive(ctx, envelope) })
	})
	a.forever(ctx, "commands", func(ctx context.Context) error { return a.commands.Serve(ctx, a.handle) })
	a.running.Wait()
	a.sessions.end()
	return nil
}

// restartDelay is the pause before a part that ended by mistake runs again.
const restartDelay = 5 * time.Second

// forever keeps a part running in a goroutine until ctx is cancelled: a
// capability that ends early must not end the agent.
func (a *Agent) forever(ctx context.Context, part string, run func(context.Context) error) {
	a.running.Go(func() {
		for {
			err := run(ctx)
			if ctx.Err() != nil {
				return
			}
			a.log.ErrorContext(ctx, "part of the agent ended by itself and is started again", "part", part, "error", err)
			if !pause(ctx, restartDelay) {
				return
			}
		}
	})
}

// tick returns a new time of the agent's logical clock. It orders what the
// agent did to a host and what it saw there. Call it under the lock.
func (a *Agent) tick() uint64 {
	a.clock++
	return a.clock
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // it rings already
	}
}

// pause waits for d and reports whether ctx lasted as long.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
