package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// bounds are those of the buckets, in seconds.
func bounds() []float64 {
	return []float64{0.005, 0.02, 0.1, 0.5, 2, 10, 30, 120, 600}
}

// Counts is what the decorators of this package count. Safe for concurrent use.
type Counts struct {
	mu        sync.Mutex
	durations map[string]*durations
	// failures are by operation and reason, the others by kind.
	failures     map[string]uint64
	sent, unsent map[string]uint64
}

// durations is a histogram.
type durations struct {
	buckets []uint64
	count   uint64
	sum     float64
}

// NewCounts returns counts of zero.
func NewCounts() *Counts {
	c := &Counts{durations: map[string]*durations{}, failures: map[string]uint64{}, sent: map[string]uint64{}, unsent: map[string]uint64{}}
	for _, operation := range []string{operationApply, operationRemove} {
		c.durations[operation] = &durations{buckets: make([]uint64, len(bounds()))}
	}
	for _, kind := range []string{kindInfo, kindReport, kindHeartbeat} {
		c.sent[kind], c.unsent[kind] = 0, 0
	}
	return c
}

func (c *Counts) took(operation string, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.durations[operation]
	h.count++
	h.sum += d.Seconds()
	for i, bound := range bounds() {
		if d.Seconds() <= bound {
			h.buckets[i]++
		}
	}
}

func (c *Counts) failed(operation, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[operation+"/"+reason]++
}

func (c *Counts) message(kind string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.sent[kind]++
	} else {
		c.unsent[kind]++
	}
}

func (c *Counts) write(e *exposition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.family(nameDuration, "histogram", "How long it took to apply or remove a deployment, with its image's pull.")
	for _, operation := range slices.Sorted(maps.Keys(c.durations)) {
		h := c.durations[operation]
		for i, bound := range bounds() {
			e.sample(nameDuration+"_bucket", float64(h.buckets[i]), "operation", operation, "le", number(bound))
		}
		e.sample(nameDuration+"_bucket", float64(h.count), "operation", operation, "le", "+Inf")
		e.sample(nameDuration+"_sum", h.sum, "operation", operation)
		e.sample(nameDuration+"_count", float64(h.count), "operation", operation)
	}
	e.family(nameFailures, "counter", "Attempts to apply or remove a deployment that failed, by reason.")
	for _, key := range slices.Sorted(maps.Keys(c.failures)) {
		operation, reason, _ := strings.Cut(key, "/")
		e.sample(nameFailures, float64(c.failures[key]), "operation", operation, "reason", reason)
	}
	e.family(nameSent, "counter", "Messages handed to the broker's connection.")
	e.kinds(nameSent, c.sent)
	e.family(nameUnsent, "counter", "Messages that could not be sent; they are made anew later.")
	e.kinds(nameUnsent, c.unsent)
}

func (e *exposition) kinds(name string, counts map[string]uint64) {
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		e.sample(name, float64(counts[kind]), "kind", kind)
	}
}
