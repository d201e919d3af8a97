package memory

import (
	"context"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// observedKey is "<device>/<kind>".
type observedKey string

const (
	observedInfo      = "/info"
	observedReport    = "/state"
	observedHeartbeat = "/heartbeat"
)

// ObservedStateConsumer implements domain.ObservedStateConsumer.
type ObservedStateConsumer struct{ fleet *Fleet }

var _ domain.ObservedStateConsumer = (*ObservedStateConsumer)(nil)

// Observed returns the operator's side of what devices say.
func (f *Fleet) Observed() *ObservedStateConsumer { return &ObservedStateConsumer{fleet: f} }

// Consume implements domain.ObservedStateConsumer.
func (c *ObservedStateConsumer) Consume(ctx context.Context, handle func(domain.Observation) error) error {
	return watch(ctx, c.fleet, c.fleet.observed, 0, func(change domain.Change[observedKey, domain.Observation]) error {
		switch change.Kind {
		case domain.ChangePut:
			return handle(change.Value)
		case domain.ChangeCaughtUp:
			return handle(domain.Observation{CaughtUp: true})
		case domain.ChangeDeleted:
		}
		return nil
	})
}

// Forget implements domain.ObservedStateConsumer.
func (c *ObservedStateConsumer) Forget(ctx context.Context, device contracts.DeviceID) error {
	if err := c.fleet.reach(ctx); err != nil {
		return err
	}
	for _, kind := range []observedKey{observedInfo, observedReport, observedHeartbeat} {
		err := c.fleet.observed.delete(observedKey(device)+kind, func(held[domain.Observation]) error { return nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// Info implements domain.ObservedStateReporter. A document that does not
// validate gives ErrInvalid.
func (d *Device) Info(ctx context.Context, info contracts.DeviceInfo) error {
	return d.say(ctx, observedInfo, info, domain.Observation{Info: &info})
}

// Report implements domain.ObservedStateReporter. A document that does not
// validate gives ErrInvalid.
func (d *Device) Report(ctx context.Context, report contracts.DeviceReport) error {
	return d.say(ctx, observedReport, report, domain.Observation{Report: &report})
}

// Heartbeat implements domain.ObservedStateReporter. A document that does not
// validate gives ErrInvalid.
func (d *Device) Heartbeat(ctx context.Context, heartbeat contracts.Heartbeat) error {
	return d.say(ctx, observedHeartbeat, heartbeat, domain.Observation{Heartbeat: &heartbeat})
}

func (d *Device) say(ctx context.Context, kind observedKey, document contracts.Document, o domain.Observation) error {
	if err := document.Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "device %q", d.id)
	}
	if err := d.reach(ctx); err != nil {
		return err
	}
	o.Device = d.id
	o.At = time.Now()
	_, err := d.fleet.observed.put(observedKey(d.id)+kind, func(held[domain.Observation]) (domain.Observation, error) { return o, nil })
	return err
}
