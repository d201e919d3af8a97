package kube

import (
	"context"
	"reflect"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// liveness is whether a device is there.
type liveness uint8

const (
	// livenessUnknown: since the devices could be heard there was not enough time
	// to hear of it. What is shown stays as it is.
	livenessUnknown liveness = iota
	livenessOnline
	livenessOffline
)

// observe takes in what a device said. Of signs of life only the transitions
// are told on.
func (f *fleet) observe(o domain.Observation) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.CaughtUp {
		f.learned(func(k *known) { k.observed = true })
		return nil
	}
	d := f.device(o.Device)
	now := time.Now()
	// A clock that is ahead must not keep a silent device alive.
	if at := earlier(o.At, now); at.After(d.seenAt) {
		d.seenAt = at
	}
	changed := false
	switch {
	case o.Info != nil:
		changed = d.info == nil || !reflect.DeepEqual(*d.info, *o.Info)
		d.info = o.Info
	case o.Report != nil:
		d.report = trimReport(o.Report)
		changed = true
	}
	if f.judge(d, now) || changed {
		f.deviceChanged(o.Device)
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// trimReport drops what is not shown: there may be many devices.
func trimReport(report *contracts.DeviceReport) *contracts.DeviceReport {
	trimmed := *report
	trimmed.Deployments = make([]contracts.DeploymentReport, len(report.Deployments))
	for i, deployment := range report.Deployments {
		deployment.Services = nil
		trimmed.Deployments[i] = deployment
	}
	return &trimmed
}

// judge finds out whether a device is there, and reports whether that changed.
func (f *fleet) judge(d *device, now time.Time) bool {
	before := d.liveness
	silence := domain.OfflineAfter(f.options.HeartbeatInterval)
	switch {
	case !d.seenAt.IsZero() && now.Sub(d.seenAt) <= silence:
		d.liveness = livenessOnline
	case f.deaf || !f.known.all() || now.Sub(f.graceFrom) <= silence:
		// Nobody can tell: it is what it was.
	default:
		d.liveness = livenessOffline
	}
	return d.liveness != before
}

// sweep notices the devices that fell silent.
func (f *fleet) sweep(ctx context.Context) error {
	ticker := time.NewTicker(min(max(f.options.HeartbeatInterval/10, 200*time.Millisecond), 5*time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		f.mu.Lock()
		now := time.Now()
		for id, d := range f.devices {
			if f.judge(d, now) {
				f.deviceChanged(id)
			}
		}
		f.mu.Unlock()
	}
}

// linkChanged stops and begins to count the silence of devices.
func (f *fleet) linkChanged(state domain.LinkState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deaf && state.Connected {
		f.graceFrom = time.Now()
	}
	f.deaf = !state.Connected
}
