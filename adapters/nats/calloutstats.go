package nats

import (
	"sync/atomic"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// CalloutStats count what a Callout did since it was made.
type CalloutStats struct {
	// Admitted clients by role.
	Admitted map[domain.Role]uint64
	// Denied clients by reason.
	Denied map[DenialReason]uint64
	// Late requests were dropped: their clients had been given up.
	Late uint64
	// Malformed requests were not made by a broker with the same keys.
	Malformed uint64
	// Unanswered requests were decided, and the answer could not be sent.
	Unanswered uint64
	// Latency is how long decisions took.
	Latency Latency
	// Events and EventsLeftOut are denials that became events, and those that did
	// not because they were too many or repeated.
	Events, EventsLeftOut uint64
	// Disconnected connections belonged to devices without access, or were too
	// many of one device.
	Disconnected uint64
}

// Latency is a cumulative histogram.
type Latency struct {
	// Bounds are the upper bounds of Counts, which include all lower ones.
	Bounds []time.Duration
	Counts []uint64
	// Count and Sum are of all.
	Count uint64
	Sum   time.Duration
}

func latencyBounds() []time.Duration {
	return []time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
		50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second,
	}
}

type calloutCounters struct {
	admitted map[domain.Role]*atomic.Uint64
	denied   map[DenialReason]*atomic.Uint64

	late, malformed, unanswered atomic.Uint64

	bounds  []time.Duration
	buckets []atomic.Uint64
	count   atomic.Uint64
	sum     atomic.Int64
}

func newCalloutCounters() *calloutCounters {
	c := &calloutCounters{
		admitted: map[domain.Role]*atomic.Uint64{}, denied: map[DenialReason]*atomic.Uint64{}, bounds: latencyBounds(),
	}
	for _, role := range []domain.Role{domain.RoleDevice, domain.RoleOperator, domain.RoleViewer, domain.RoleEnroll} {
		c.admitted[role] = &atomic.Uint64{}
	}
	for _, reason := range DenialReasons() {
		c.denied[reason] = &atomic.Uint64{}
	}
	c.buckets = make([]atomic.Uint64, len(c.bounds))
	return c
}

func (c *calloutCounters) decided(role domain.Role, denied *denial, took time.Duration) {
	if denied != nil {
		c.denied[denied.reason].Add(1)
	} else {
		c.admitted[role].Add(1)
	}
	c.count.Add(1)
	c.sum.Add(int64(took))
	for i, bound := range c.bounds {
		if took <= bound {
			c.buckets[i].Add(1)
			return
		}
	}
}

func (c *calloutCounters) stats(denials *denialLog, cutter *cutter) CalloutStats {
	s := CalloutStats{
		Admitted: map[domain.Role]uint64{}, Denied: map[DenialReason]uint64{},
		Late: c.late.Load(), Malformed: c.malformed.Load(), Unanswered: c.unanswered.Load(),
		Events: denials.told.Load(), EventsLeftOut: denials.untold.Load(), Disconnected: cutter.disconnected.Load(),
		Latency: Latency{Bounds: c.bounds, Counts: make([]uint64, len(c.bounds)), Count: c.count.Load(), Sum: time.Duration(c.sum.Load())},
	}
	for role, count := range c.admitted {
		s.Admitted[role] = count.Load()
	}
	for reason, count := range c.denied {
		s.Denied[reason] = count.Load()
	}
	var below uint64
	for i := range c.buckets {
		below += c.buckets[i].Load()
		s.Latency.Counts[i] = below
	}
	return s
}
