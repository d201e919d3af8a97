// Package operator is the engine that turns deployments into one signed
// desired state per device and says how far each deployment is. It knows
// capabilities alone, no provider.
//
// One goroutine owns everything that the engine knows. The watches feed it
// through bounded queues; whatever blocks (composing, signing, publishing,
// writing statuses, asking devices) is done by workers on copies, and their
// results come back to that goroutine. After any break the state is rebuilt
// from the stores, and nothing is written before all of it is known.
package operator

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Capabilities are what the engine needs; all of them must be set.
type Capabilities struct {
	Devices     domain.DeviceRegistry
	Deployments domain.DeploymentStore
	Statuses    domain.DeploymentStatusStore
	Desired     domain.DesiredStatePublisher
	Observed    domain.ObservedStateConsumer
	Commands    domain.CommandBus
	Events      domain.EventLog
}

// Options tune the engine. The zero value works.
type Options struct {
	// HeartbeatInterval is what devices are told to keep, 1s to 1h. Default 30s.
	HeartbeatInterval time.Duration
	// StatusInterval is the least time between two writes of one deployment's
	// status. Default 1s.
	StatusInterval time.Duration
	// SettleDelay is how long the engine waits after a change for others that
	// belong to it, so that each device gets one new document. Default 20ms.
	SettleDelay time.Duration
	// ReportRequestInterval is the least time between two requests to one device
	// to report again; it doubles while they are in vain. Default 30s.
	ReportRequestInterval time.Duration
	// AgentVersion is the version that agents shall run; empty for no wish.
	AgentVersion string
	// BatchSize is the most documents of one call to Publish. Default 1000.
	BatchSize int
	// Publishers is how many batches are under way at a time. Default: 4.
	Publishers int
	// Logger takes what the engine has to say. Default: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	defaultTo(&o.HeartbeatInterval, contracts.DefaultHeartbeatInterval.Std())
	o.HeartbeatInterval = min(max(o.HeartbeatInterval, time.Second), time.Hour)
	defaultTo(&o.StatusInterval, time.Second)
	defaultTo(&o.SettleDelay, 20*time.Millisecond)
	defaultTo(&o.ReportRequestInterval, 30*time.Second)
	defaultTo(&o.BatchSize, 1000)
	defaultTo(&o.Publishers, 4)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func defaultTo[T ~int | ~int64](value *T, fallback T) {
	if *value <= 0 {
		*value = fallback
	}
}

// Operator is the engine. Run may be called again after it returned, by one
// caller at a time; Status is safe from any goroutine.
type Operator struct {
	capabilities Capabilities
	composer     *composer
	options      Options

	mu     sync.Mutex
	status Status
}

// New returns an engine that signs with the given key, which must be a whole
// Ed25519 private key. An AgentVersion that no document can carry is left out
// and logged, because with it devices would refuse everything.
func New(c Capabilities, key ed25519.PrivateKey, o Options) *Operator {
	o = o.withDefaults()
	probe := contracts.DesiredState{
		Device:            "probe",
		Generation:        1,
		AgentVersion:      o.AgentVersion,
		HeartbeatInterval: contracts.Duration(o.HeartbeatInterval),
	}
	if err := probe.Validate(); err != nil {
		o.Logger.Error("the wished agent version is not valid; devices are not told any", slog.Any("error", err))
		o.AgentVersion = ""
	}
	return &Operator{
		capabilities: c,
		composer:     newComposer(key, o.AgentVersion, o.HeartbeatInterval),
		options:      o,
		status:       Status{Phase: PhaseStandby},
	}
}

// Bounds of the pause between two attempts to rebuild.
const (
	leastPause = 200 * time.Millisecond
	mostPause  = 15 * time.Second
)

// Run leads the fleet until ctx is cancelled, waits for all that it started,
// and returns nil. It rebuilds everything whenever a store can no longer
// promise that nothing was missed, and goes on trying for ever.
func (o *Operator) Run(ctx context.Context) error {
	defer o.setStatus(Status{Phase: PhaseStandby})
	// Events outlive a rebuild: it is then that they matter.
	events := make(chan contracts.Event, maxWaitingEvents)
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { appendEvents(ctx, events, o.capabilities.Events, o.options.Logger) })
	pause := leastPause
	for ctx.Err() == nil {
		started := time.Now()
		err := newEngine(o, events).run(ctx)
		if ctx.Err() != nil {
			break
		}
		o.setStatus(Status{Phase: PhaseRecovering})
		if time.Since(started) > mostPause {
			pause = leastPause
		}
		o.options.Logger.Warn("rebuilding the state of the fleet from the stores",
			slog.Any("error", err), slog.Duration("pause", pause))
		if !sleep(ctx, pause) {
			break
		}
		pause = min(2*pause, mostPause)
	}
	return nil
}

// sleep waits for d and reports whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Phase is how far the engine is.
type Phase string

// The phases.
const (
	// PhaseStandby: it does not lead.
	PhaseStandby Phase = "Standby"
	// PhaseRecovering: it leads, and the state of the fleet is being rebuilt or
	// what follows from it has not been stored for the first time.
	PhaseRecovering Phase = "Recovering"
	// PhaseConverged: since the last rebuild, everything was stored once. Dirty
	// says how much is under way now.
	PhaseConverged Phase = "Converged"
)

// Status is what the engine is doing, at one moment. Counters begin with each
// call of Run or rebuild.
type Status struct {
	Phase Phase
	// Since is when the phase began.
	Since time.Time
	// Devices are registered; Revoked and Online are some of them.
	Devices, Revoked, Online int
	// Unregistered devices report without being registered.
	Unregistered int
	// Deployments that exist; Removing ones are deleted but not gone everywhere.
	Deployments, Removing int
	// Dirty devices wait for their document to be checked or stored.
	Dirty int
	// Blocked devices cannot be given a document at all.
	Blocked int
	// Lagging devices sent a report that did not arrive.
	Lagging int
	// Published documents, and their bytes.
	Published, PublishedBytes uint64
	// PublishErrors counts documents that were not stored at an attempt.
	PublishErrors uint64
	// EventsDropped counts events lost because the log could not keep up.
	EventsDropped uint64
}

// Status returns what the engine is doing. It does not block.
func (o *Operator) Status() Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status
}

func (o *Operator) setStatus(status Status) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if status.Phase != o.status.Phase {
		status.Since = time.Now()
	} else {
		status.Since = o.status.Since
	}
	o.status = status
}
