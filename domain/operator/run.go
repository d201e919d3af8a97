package operator

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Sizes of the queues between the watches and the engine. A full queue holds
// the watch up.
const (
	changeQueue      = 256
	observationQueue = 4096
	// drain is how many observations are taken in before anything else is
	// looked at.
	drain = 256
)

// engine is one life of the operator, from an empty memory to the first break.
// Its fields belong to the goroutine that called run, but for the channels.
type engine struct {
	operator *Operator
	options  Options
	log      *slog.Logger

	now time.Time // when the present step began

	devices     map[contracts.DeviceID]*device
	deployments map[contracts.DeploymentName]*deployment
	leaving     map[*deployment]struct{} // deleted and not gone
	attention   map[*deployment]struct{} // to be planned, or status to be written
	lagging     map[*device]*lag
	dirty       queue
	dirtySince  time.Time // when the queue was empty last
	orphans     []*device // to be collected again

	recovering  bool
	recoveredAt time.Time
	caughtUp    caughtUp

	publishers, chores, asks pool
	busy, collecting         int // devices that workers are at
	publishAfter             time.Time
	publishPause             time.Duration

	wake          time.Time // when there is something to do, zero for never
	timer         *time.Timer
	sweptAt       time.Time
	status        Status
	droppedLogged uint64

	running         sync.WaitGroup
	failed          chan error
	registryChanges chan domain.DeviceChange
	declarations    chan domain.DeploymentChange
	observations    chan domain.Observation
	loaded          chan loaded
	completions     chan completion
	events          chan<- contracts.Event
}

func newEngine(o *Operator, events chan<- contracts.Event) *engine {
	return &engine{
		operator:        o,
		options:         o.options,
		log:             o.options.Logger,
		devices:         map[contracts.DeviceID]*device{},
		deployments:     map[contracts.DeploymentName]*deployment{},
		leaving:         map[*deployment]struct{}{},
		attention:       map[*deployment]struct{}{},
		lagging:         map[*device]*lag{},
		recovering:      true,
		publishers:      pool{limit: o.options.Publishers},
		chores:          pool{limit: 4},
		asks:            pool{limit: maxAsking},
		status:          Status{Phase: PhaseRecovering},
		failed:          make(chan error, 1),
		registryChanges: make(chan domain.DeviceChange, changeQueue),
		declarations:    make(chan domain.DeploymentChange, changeQueue),
		observations:    make(chan domain.Observation, observationQueue),
		loaded:          make(chan loaded, 1),
		completions:     make(chan completion),
		events:          events,
	}
}

// run returns nil after ctx is cancelled, or why the engine cannot go on, and
// leaves nothing running.
func (e *engine) run(ctx context.Context) error {
	defer e.running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.timer = time.NewTimer(time.Hour)
	defer e.timer.Stop()
	sweep := time.NewTicker(e.sweepInterval())
	defer sweep.Stop()

	e.now = time.Now()
	e.sweptAt = e.now
	e.watch(ctx)
	e.recover(ctx)
	for {
		e.operator.setStatus(e.status)
		select {
		case <-ctx.Done():
			return nil
		case err := <-e.failed:
			return err
		case change := <-e.registryChanges:
			e.now = time.Now()
			e.registry(ctx, change)
		case change := <-e.declarations:
			e.now = time.Now()
			e.declaration(change)
		case o := <-e.observations:
			e.now = time.Now()
			e.observe(o)
			e.drainObservations()
		case found := <-e.loaded:
			e.now = time.Now()
			e.takeLoaded(found)
		case done := <-e.completions:
			e.now = time.Now()
			e.complete(ctx, done)
		case <-sweep.C:
			e.now = time.Now()
			e.sweep(ctx)
		case <-e.timer.C:
			e.now = time.Now()
		}
		e.act(ctx)
	}
}

func (e *engine) drainObservations() {
	for range drain {
		select {
		case o := <-e.observations:
			e.observe(o)
		default:
			return
		}
	}
}

// longestPlanning is how long documents may wait for plans that are due.
const longestPlanning = time.Second

// act does what is due and sets the timer for what is not.
func (e *engine) act(ctx context.Context) {
	if e.recovering {
		if !e.caughtUp.all() {
			return
		}
		e.recovered(ctx)
	}
	if !e.wake.IsZero() && !e.wake.After(e.now) {
		e.wake = time.Time{}
		// Plans that belong together come first, but whoever keeps changing must
		// not hold up the rest of the fleet.
		if waiting := e.planDue(ctx); !waiting || e.dirty.len() > 0 && e.now.Sub(e.dirtySince) > longestPlanning {
			e.dispatch(ctx)
		}
	}
	if !e.wake.IsZero() {
		e.timer.Reset(e.wake.Sub(e.now))
	}
	e.status.Deployments = len(e.deployments) - len(e.leaving)
	e.status.Removing = len(e.leaving)
	e.status.Dirty = e.dirty.len() + e.busy
	e.status.Lagging = len(e.lagging)
	if e.status.Phase == PhaseRecovering && e.atRest() {
		e.status.Phase = PhaseConverged
		e.log.Info("the fleet's desired state is up to date",
			slog.Int("devices", e.status.Devices), slog.Int("deployments", e.status.Deployments),
			slog.Uint64("published", e.status.Published), slog.Duration("took", e.now.Sub(e.recoveredAt)))
	}
}

// atRest reports whether everything that is wanted is stored.
func (e *engine) atRest() bool {
	if e.status.Dirty > 0 || e.collecting > 0 || len(e.orphans) > 0 {
		return false
	}
	for deployment := range e.attention {
		if !deployment.planAt.IsZero() && deployment.reassign {
			return false
		}
	}
	return true
}

// wakeAt has the engine act at the given time at the latest.
func (e *engine) wakeAt(at time.Time) {
	if e.wake.IsZero() || at.Before(e.wake) {
		e.wake = at
	}
}

// sweepInterval is how often silent devices are looked for.
func (e *engine) sweepInterval() time.Duration {
	return min(max(e.options.HeartbeatInterval/10, 200*time.Millisecond), 5*time.Second)
}

func (e *engine) sweep(ctx context.Context) {
	elapsed := e.now.Sub(e.sweptAt)
	e.sweptAt = e.now
	e.logDropped()
	if e.recovering {
		return
	}
	e.sweepOffline()
	e.ask(ctx, elapsed)
	e.retryOrphans(ctx)
}

// watch starts to follow everything that the engine depends on.
func (e *engine) watch(ctx context.Context) {
	c := &e.operator.capabilities
	e.follow(ctx, "devices", func() error {
		return c.Devices.Watch(ctx, 0, func(change domain.DeviceChange) error { return send(ctx, e.registryChanges, change) })
	})
	e.follow(ctx, "deployments", func() error {
		return c.Deployments.Watch(ctx, 0, func(change domain.DeploymentChange) error { return send(ctx, e.declarations, change) })
	})
	e.follow(ctx, "observed state", func() error {
		return c.Observed.Consume(ctx, func(o domain.Observation) error { return send(ctx, e.observations, o) })
	})
}

// follow runs one watch. Its end, with or without an error, ends the engine.
func (e *engine) follow(ctx context.Context, what string, watch func() error) {
	e.running.Go(func() {
		err := watch()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ended without an error")
		}
		e.fail(domain.WrapError(domain.ErrUnavailable, err, "watching %s", what))
	})
}

// fail ends the engine. The first failure counts.
func (e *engine) fail(err error) {
	select {
	case e.failed <- err:
	default:
	}
}

func send[T any](ctx context.Context, queue chan<- T, value T) error {
	select {
	case queue <- value:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
