package simulation

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Weather is how bad the messages of one device fare. It is safe for
// concurrent use.
type Weather struct {
	mu     sync.Mutex
	random *rand.Rand
	bad    bool
}

// NewWeather returns fair weather whose later turns come from the seed.
func NewWeather(seed uint64) *Weather {
	return &Weather{random: rand.New(rand.NewPCG(seed, 0x57ea))} //nolint:gosec // a simulation needs repeatable numbers, not secret ones
}

// SetBad switches loss, duplication and delay on or off.
func (w *Weather) SetBad(bad bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad = bad
}

// jitter returns a number in [0,1).
func (w *Weather) jitter() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.Float64()
}

// fate is what becomes of one message: how many copies arrive, and when.
func (w *Weather) fate() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.bad {
		return []time.Duration{0}
	}
	copies := 1
	switch n := w.random.IntN(10); {
	case n < 3:
		copies = 0
	case n < 5:
		copies = 2
	}
	delays := make([]time.Duration, copies)
	for i := range delays {
		delays[i] = time.Duration(w.random.IntN(5000)) * time.Millisecond
	}
	return delays
}

// Source brings desired state through the weather: late, twice, out of order,
// or never.
func (w *Weather) Source(next domain.DesiredStateSource) domain.DesiredStateSource {
	return &stormySource{next: next, weather: w}
}

type stormySource struct {
	next    domain.DesiredStateSource
	weather *Weather
}

func (s *stormySource) Follow(ctx context.Context, held func() uint64, handle func([]byte)) error {
	var one sync.Mutex // handle is called from one goroutine at a time
	var flying sync.WaitGroup
	defer flying.Wait()
	for ctx.Err() == nil {
		// A source asks again now and then for what got lost on the way.
		asking, cancel := context.WithTimeout(ctx, askAgain)
		err := s.follow(asking, ctx, &one, &flying, held, handle)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// askAgain is the time after which a source asks for what it may have missed.
const askAgain = 5 * time.Minute

func (s *stormySource) follow(asking, ctx context.Context, one *sync.Mutex, flying *sync.WaitGroup, held func() uint64, handle func([]byte)) error {
	return s.next.Follow(asking, held, func(envelope []byte) {
		for _, delay := range s.weather.fate() {
			if delay == 0 {
				one.Lock()
				handle(envelope)
				one.Unlock()
				continue
			}
			flying.Go(func() {
				if !sleep(ctx, delay) {
					return
				}
				one.Lock()
				defer one.Unlock()
				handle(envelope)
			})
		}
	})
}

// Reporter sends what a device says through the weather.
func (w *Weather) Reporter(next domain.ObservedStateReporter) domain.ObservedStateReporter {
	return &stormyReporter{next: next, weather: w}
}

type stormyReporter struct {
	next    domain.ObservedStateReporter
	weather *Weather
}

func (s *stormyReporter) Info(ctx context.Context, info contracts.DeviceInfo) error {
	return s.send(ctx, func() error { return s.next.Info(ctx, info) })
}

func (s *stormyReporter) Report(ctx context.Context, report contracts.DeviceReport) error {
	return s.send(ctx, func() error { return s.next.Report(ctx, report) })
}

func (s *stormyReporter) Heartbeat(ctx context.Context, heartbeat contracts.Heartbeat) error {
	return s.send(ctx, func() error { return s.next.Heartbeat(ctx, heartbeat) })
}

// send loses, delays or doubles a message. One connection keeps its messages
// in order, so a delay holds up the sender.
func (s *stormyReporter) send(ctx context.Context, deliver func() error) error {
	for _, delay := range s.weather.fate() {
		if !sleep(ctx, delay/10) {
			return nil
		}
		if err := deliver(); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits for d and reports whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
