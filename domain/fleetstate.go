package domain

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// DeviceState is what is known about one device from what it said.
type DeviceState struct {
	ID     contracts.DeviceID
	Info   *contracts.DeviceInfo
	Report *contracts.DeviceReport
	// Heartbeat is the last one; its zero value when there was none.
	Heartbeat contracts.Heartbeat
	// SeenAt is when the device last said anything, zero for never.
	SeenAt time.Time
}

// missedHeartbeats is how many heartbeats a device may miss before it counts
// as offline.
const missedHeartbeats = 3

// OfflineAfter is the silence after which a device counts as offline.
func OfflineAfter(interval time.Duration) time.Duration {
	return missedHeartbeats*interval + interval/2
}

// Online reports whether the device was heard of within OfflineAfter(interval).
func (d DeviceState) Online(now time.Time, interval time.Duration) bool {
	return !d.SeenAt.IsZero() && now.Sub(d.SeenAt) <= OfflineAfter(interval)
}

// AppliedGeneration is the highest desired generation that the device said it
// acted upon last.
func (d DeviceState) AppliedGeneration() uint64 {
	applied := d.Heartbeat.AppliedGeneration
	if d.Report != nil {
		applied = max(applied, d.Report.AppliedGeneration)
	}
	return applied
}

// Deployment returns what the device reports about one deployment.
func (d DeviceState) Deployment(name contracts.DeploymentName) (contracts.DeploymentReport, bool) {
	if d.Report == nil {
		return contracts.DeploymentReport{}, false
	}
	i, found := slices.BinarySearchFunc(d.Report.Deployments, name, func(r contracts.DeploymentReport, n contracts.DeploymentName) int {
		return compareNames(r.Name, n)
	})
	if !found {
		return contracts.DeploymentReport{}, false
	}
	return d.Report.Deployments[i], true
}

// ReportedLabels are the labels that the device asserts about itself.
func (d DeviceState) ReportedLabels() contracts.Labels {
	if d.Info == nil {
		return nil
	}
	return d.Info.Labels
}

func compareNames[N ~string](a, b N) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// FleetState is the observed fleet. It is not safe for concurrent use: one
// goroutine owns it.
type FleetState struct {
	devices map[contracts.DeviceID]*DeviceState
}

// NewFleetState returns an empty state.
func NewFleetState() *FleetState {
	return &FleetState{devices: map[contracts.DeviceID]*DeviceState{}}
}

// Observe takes one observation in and returns the state of its device, which
// stays owned by f; nil for a caught-up mark.
func (f *FleetState) Observe(o Observation) *DeviceState {
	if o.CaughtUp {
		return nil
	}
	device, ok := f.devices[o.Device]
	if !ok {
		device = &DeviceState{ID: o.Device}
		f.devices[o.Device] = device
	}
	switch {
	case o.Info != nil:
		device.Info = o.Info
	case o.Report != nil:
		device.Report = o.Report
	case o.Heartbeat != nil:
		device.Heartbeat = *o.Heartbeat
	}
	if o.At.After(device.SeenAt) {
		device.SeenAt = o.At
	}
	return device
}

// Device returns the state of one device; its zero value, with the ID alone,
// when it never said anything.
func (f *FleetState) Device(id contracts.DeviceID) DeviceState {
	if device, ok := f.devices[id]; ok {
		return *device
	}
	return DeviceState{ID: id}
}

// Devices returns the IDs of all devices that ever said anything, sorted.
func (f *FleetState) Devices() []contracts.DeviceID {
	return slices.Sorted(maps.Keys(f.devices))
}

// Forget drops one device.
func (f *FleetState) Forget(id contracts.DeviceID) { delete(f.devices, id) }

// ReadFleetState returns what is known now.
func ReadFleetState(ctx context.Context, consumer ObservedStateConsumer) (*FleetState, error) {
	state := NewFleetState()
	err := consumer.Consume(ctx, func(o Observation) error {
		state.Observe(o)
		if o.CaughtUp {
			return errCaughtUp
		}
		return nil
	})
	return state, ended(ctx, err)
}
