package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Units is the capability to keep something running while this process lives.
// Implementations may be used by several goroutines at once.
type Units interface {
	// Start begins a unit, which runs until it is stopped. An earlier one of that
	// name must have been.
	Start(name string, run func(context.Context) error) (*Unit, error)
	// Running returns the unit of that name that runs, nil when none does.
	Running(name string) *Unit
	// Stop ends the unit and returns when it has ended. One that does not run is
	// no error.
	Stop(name string) error
}

// Unit is something that runs.
type Unit struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // once ended
}

// Ended is closed when the unit has ended.
func (u *Unit) Ended() <-chan struct{} { return u.ended }

// Err says why the unit ended; nil while it runs and when it was stopped.
func (u *Unit) Err() error {
	select {
	case <-u.ended:
		return u.err
	default:
		return nil
	}
}

// Topology is this machine. It remembers nothing: all of it ends with Close.
type Topology struct {
	base context.Context //nolint:containedctx // the parent of all units, which outlive the calls that start them

	mu     sync.Mutex
	units  map[string]*Unit
	order  []string
	closed bool
	failed chan error
}

var _ Units = (*Topology)(nil)

// New returns a topology on which nothing runs. Of ctx it takes the values
// alone: units end by Stop and Close.
func New(ctx context.Context) *Topology {
	return &Topology{base: context.WithoutCancel(ctx), units: map[string]*Unit{}, failed: make(chan error, 1)}
}

// Start implements Units.
func (t *Topology) Start(name string, run func(context.Context) error) (*Unit, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, fmt.Errorf("start %s: everything is being stopped", name)
	}
	if before := t.units[name]; before != nil && !isOver(before) {
		return nil, fmt.Errorf("start %s: it runs already", name)
	}
	ctx, cancel := context.WithCancel(t.base)
	unit := &Unit{cancel: cancel, ended: make(chan struct{})}
	if t.units[name] == nil {
		t.order = append(t.order, name)
	}
	t.units[name] = unit
	go func() {
		err := run(ctx)
		if ctx.Err() == nil && err == nil {
			err = errors.New("it ended by itself")
		}
		if err != nil {
			unit.err = fmt.Errorf("%s: %w", name, err)
			select {
			case t.failed <- unit.err:
			default: // the first failure is told
			}
		}
		close(unit.ended)
	}()
	return unit, nil
}

func isOver(unit *Unit) bool {
	select {
	case <-unit.ended:
		return true
	default:
		return false
	}
}

// Running implements Units.
func (t *Topology) Running(name string) *Unit {
	t.mu.Lock()
	defer t.mu.Unlock()
	if unit := t.units[name]; unit != nil && !isOver(unit) {
		return unit
	}
	return nil
}

// Stop implements Units.
func (t *Topology) Stop(name string) error {
	unit := t.Running(name)
	if unit == nil {
		return nil
	}
	unit.cancel()
	<-unit.ended
	return unit.err
}

// Wait returns nil when ctx ends, and the error of the first unit that ended by
// itself.
func (t *Topology) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-t.failed:
		return err
	}
}

// Close stops what still runs, the newest first.
func (t *Topology) Close() error {
	t.mu.Lock()
	t.closed = true
	order := t.order
	t.mu.Unlock()
	var problems []error
	for _, name := range slices.Backward(order) {
		problems = append(problems, t.Stop(name))
	}
	return errors.Join(problems...)
}
