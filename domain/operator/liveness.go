package operator

import (
	"fmt"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// liveness is whether a device is there.
type liveness uint8

const (
	// livenessOffline: not heard of for longer than domain.OfflineAfter.
	livenessOffline liveness = iota
	// livenessOnline: heard of lately.
	livenessOnline
	// livenessUnknown: it was there once, and since the engine began there was
	// not enough time to hear of it. Heartbeats are not kept on disk, so after
	// the broker's restart this is the whole fleet: no event must come of it.
	livenessUnknown
)

// countsAsOnline: in doubt a device is waited for.
func (d *device) countsAsOnline() bool { return d.liveness != livenessOffline }

// heardOf reports whether the device said something lately.
func (e *engine) heardOf(d *device) bool {
	return d.seenAt != 0 && e.now.UnixNano()-d.seenAt <= int64(domain.OfflineAfter(e.options.HeartbeatInterval))
}

// setLiveness changes the liveness and reports whether it was another.
func (e *engine) setLiveness(d *device, to liveness) bool {
	if d.liveness == to {
		return false
	}
	if d.liveness == livenessOnline {
		e.status.Online--
	}
	if to == livenessOnline {
		e.status.Online++
	}
	changed := d.countsAsOnline() != (to != livenessOffline)
	d.liveness = to
	if changed {
		for i := range d.memberships {
			e.markStatus(d.memberships[i].deployment)
		}
		for deployment := range e.leaving {
			if _, ok := deployment.holders[d]; ok {
				e.markStatus(deployment)
			}
		}
	}
	return true
}

// firstLiveness judges a device by what is known right after the start, when
// nothing tells how it was before: so no event follows.
func (e *engine) firstLiveness(d *device) {
	switch {
	case !d.eligible():
		return
	case e.heardOf(d):
		e.setLiveness(d, livenessOnline)
	case d.hasHeartbeat || d.seenAt == 0:
		e.setLiveness(d, livenessOffline)
	default:
		e.setLiveness(d, livenessUnknown)
	}
}

// checkOnline notices a device that came back. It is called with everything
// that a device says.
func (e *engine) checkOnline(d *device) {
	if d.liveness == livenessOnline || !d.eligible() || !e.heardOf(d) {
		return
	}
	was := d.liveness
	e.setLiveness(d, livenessOnline)
	if was == livenessOffline {
		e.emit(contracts.Event{Kind: contracts.EventDeviceOnline, Device: d.id, Actor: actorDevice})
	}
}

// sweepOffline notices the devices that fell silent.
func (e *engine) sweepOffline() {
	graceOver := e.now.Sub(e.recoveredAt) > domain.OfflineAfter(e.options.HeartbeatInterval)
	for _, d := range e.devices {
		switch {
		case d.liveness == livenessOffline:
		case d.liveness == livenessUnknown && graceOver:
			e.setLiveness(d, livenessOffline)
		case d.liveness == livenessOnline && !e.heardOf(d):
			e.setLiveness(d, livenessOffline)
			e.emit(contracts.Event{
				Kind: contracts.EventDeviceOffline, Device: d.id, Actor: actorOperator,
				Message: fmt.Sprintf("last heard of at %s", time.Unix(0, d.seenAt).UTC().Format(time.RFC3339)),
			})
		}
	}
}
