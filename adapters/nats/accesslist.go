package nats

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// accessList is the registry as the callout needs it: which devices there are,
// and which of them are revoked.
type accessList struct {
	mu      sync.RWMutex
	revoked map[contracts.DeviceID]bool
}

func newAccessList() *accessList { return &accessList{revoked: map[contracts.DeviceID]bool{}} }

// state returns whether a device is revoked, and whether it is known.
func (l *accessList) state(device contracts.DeviceID) (revoked, known bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	revoked, known = l.revoked[device]
	return revoked, known
}

func (l *accessList) permits(device contracts.DeviceID) bool {
	revoked, known := l.state(device)
	return known && !revoked
}

// set notes a device and returns what was known of it.
func (l *accessList) set(device contracts.DeviceID, revoked bool) (was, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, known = l.revoked[device]
	l.revoked[device] = revoked
	return was, known
}

func (l *accessList) remove(device contracts.DeviceID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.revoked, device)
}

// replace puts another list in place of this one.
func (l *accessList) replace(revoked map[contracts.DeviceID]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revoked = revoked
}

// watchRegistry keeps the list, and has devices disconnected that lose their
// place in it. It closes known once the list is whole.
func (c *Callout) watchRegistry(ctx context.Context, known chan struct{}) error {
	for tell := true; ; tell = false {
		w := registryWatch{callout: c, first: map[contracts.DeviceID]bool{}, caughtUp: func() {
			if known != nil {
				close(known)
				known = nil
			}
		}}
		err := c.registry.Watch(ctx, 0, w.handle)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil || !errors.Is(err, domain.ErrUnavailable) {
			return err
		}
		if tell || w.first == nil { // once for each outage
			c.log.Warn("the registry cannot be followed, and is tried again; until then revocations are not heard of", slog.String("error", err.Error()))
		}
		if !pause(ctx, time.Second) {
			return nil
		}
	}
}

// registryWatch is one watch of the registry.
type registryWatch struct {
	callout *Callout
	// first is what was stored when the watch began; nil once it is whole.
	first    map[contracts.DeviceID]bool
	caughtUp func()
}

func (w *registryWatch) handle(change domain.DeviceChange) error {
	c, device := w.callout, change.Key
	switch {
	case change.Kind == domain.ChangeCaughtUp:
		c.access.replace(w.first)
		for device, revoked := range w.first {
			if revoked {
				c.provider.want(device, true)
			}
		}
		w.first = nil
		// Whoever lost access while nobody watched is found by a look at all.
		c.cutter.lookAtAll()
		w.caughtUp()
	case w.first != nil && change.Kind == domain.ChangePut:
		w.first[device] = change.Value.Revoked
	case w.first != nil:
		delete(w.first, device)
	case change.Kind == domain.ChangePut:
		revoked := change.Value.Revoked
		was, known := c.access.set(device, revoked)
		if revoked == (known && was) {
			return nil
		}
		c.provider.want(device, revoked)
		if revoked {
			c.cutter.cut(device)
		}
	default:
		c.access.remove(device)
		c.cutter.cut(device)
	}
	return nil
}
