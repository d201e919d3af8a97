package memory

import (
	"context"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Device is one device's side of the fleet: its desired state, its reports, its
// commands and its link.
type Device struct {
	fleet *Fleet
	id    contracts.DeviceID

	// The lock of the fleet protects what follows.
	cut       bool
	linkSince time.Time
	// sessions counts the connections.
	sessions uint64
	bells    bells
	servers  []*commandServer
}

var (
	_ domain.DesiredStateSource    = (*Device)(nil)
	_ domain.ObservedStateReporter = (*Device)(nil)
	_ domain.CommandServer         = (*Device)(nil)
	_ domain.Link                  = (*Device)(nil)
)

// Device returns the side of the device with that ID, the same for every call.
// It is connected until SetConnected says otherwise.
func (f *Fleet) Device(id contracts.DeviceID) *Device {
	f.mu.Lock()
	defer f.mu.Unlock()
	device, ok := f.links[id]
	if !ok {
		device = &Device{fleet: f, id: id, bells: bells{}, linkSince: time.Now(), sessions: 1}
		f.links[id] = device
	}
	return device
}

// SetConnected cuts or restores the device's link. Without it nothing is
// delivered, sending gives ErrUnavailable, and so does a command to the device,
// one that it is carrying out included.
func (d *Device) SetConnected(connected bool) {
	d.fleet.mu.Lock()
	defer d.fleet.mu.Unlock()
	if d.cut == !connected {
		return
	}
	d.cut = !connected
	d.changed(time.Now())
}

// Connected reports whether the link is up and the backend too.
func (d *Device) Connected() bool {
	connected, _ := d.session()
	return connected
}

// changed is called under the lock when the link or the backend has changed.
func (d *Device) changed(now time.Time) {
	d.linkSince = now
	if d.connected() {
		d.sessions++
	}
	d.bells.ring()
}

// connected is called under the lock.
func (d *Device) connected() bool { return !d.cut && !d.fleet.stopped }

// session returns whether the device is connected and the number of its
// connection.
func (d *Device) session() (connected bool, session uint64) {
	d.fleet.mu.Lock()
	defer d.fleet.mu.Unlock()
	return d.connected(), d.sessions
}

// listen rings bell whenever the link changes, until the returned function is
// called.
func (d *Device) listen(bell chan struct{}) (leave func()) {
	d.fleet.mu.Lock()
	defer d.fleet.mu.Unlock()
	d.bells.add(bell)
	return func() {
		d.fleet.mu.Lock()
		defer d.fleet.mu.Unlock()
		delete(d.bells, bell)
	}
}

// reach returns ErrUnavailable unless the device is connected.
func (d *Device) reach(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "device %q has sent nothing", d.id)
	}
	if !d.Connected() {
		return domain.Errorf(domain.ErrUnavailable, "device %q is not connected", d.id)
	}
	return nil
}

// Watch implements domain.Link.
func (d *Device) Watch(ctx context.Context, handle func(domain.LinkState)) error {
	bell := make(chan struct{}, 1)
	defer d.listen(bell)()
	for ctx.Err() == nil {
		handle(d.linkState())
		select {
		case <-ctx.Done():
		case <-bell:
		}
	}
	return nil
}

func (d *Device) linkState() domain.LinkState {
	d.fleet.mu.Lock()
	defer d.fleet.mu.Unlock()
	state := domain.LinkState{Since: d.linkSince}
	switch {
	case d.fleet.stopped:
		state.Problem = "the fleet's backend is stopped"
	case d.cut:
		state.Problem = "the device's link is cut"
	default:
		state.Connected = true
		state.Server = "memory"
	}
	return state
}
