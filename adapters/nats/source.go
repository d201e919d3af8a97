package nats

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// syncInterval is the mean time between two questions for what may have been
	// missed, on a connection that seems fine.
	syncInterval = 5 * time.Minute
	// syncJitter spreads the questions of many devices after a reconnection.
	syncJitter     = 2 * time.Second
	syncTimeout    = 10 * time.Second
	firstSyncRetry = time.Second
	lastSyncRetry  = 30 * time.Second
)

// DesiredStateSource is the domain.DesiredStateSource of one device.
type DesiredStateSource struct {
	conn     *Conn
	device   contracts.DeviceID
	interval time.Duration
	jitter   time.Duration
}

var _ domain.DesiredStateSource = (*DesiredStateSource)(nil)

// NewDesiredStateSource returns the source of a device over its connection,
// whose inbox prefix must be contracts.InboxPrefix(device).
func NewDesiredStateSource(conn *Conn, device contracts.DeviceID) *DesiredStateSource {
	return &DesiredStateSource{conn: conn, device: device, interval: syncInterval, jitter: syncJitter}
}

// Follow implements domain.DesiredStateSource. It listens first and asks then,
// so that nothing falls in between; a sync service that is away is asked again.
func (s *DesiredStateSource) Follow(ctx context.Context, held func() uint64, handle func(envelope []byte)) error {
	var mu sync.Mutex // held while handle or held is called
	ended := false
	generation := func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return held()
	}
	take := func(envelope []byte) {
		mu.Lock()
		defer mu.Unlock()
		if !ended && len(envelope) > 0 { // a deletion is empty
			handle(envelope)
		}
	}
	sub, err := s.conn.nc.Subscribe(contracts.DesiredSubject(s.device), func(msg *nats.Msg) { take(msg.Data) })
	if err != nil {
		return translate(err, "subscribe to the desired state of device %q", s.device)
	}
	defer func() {
		_ = sub.Unsubscribe() // fails when the connection is closed, and then it is ended
		mu.Lock()
		ended = true
		mu.Unlock()
	}()
	return s.sync(ctx, generation, take)
}

// sync asks on each connection, and then again at long intervals.
func (s *DesiredStateSource) sync(ctx context.Context, held func() uint64, take func([]byte)) error {
	var asked uint64 // the connection that was asked on
	retry := firstSyncRetry
	for {
		state, epoch, changed := s.conn.link()
		var wait time.Duration
		switch {
		case !state.Connected:
			wait = s.interval
		case epoch != asked && asked > 0 && !pause(ctx, rand.N(s.jitter)): //nolint:gosec // spreads load
			return nil
		case s.ask(ctx, changed, held(), take) == nil:
			asked, retry = epoch, firstSyncRetry
			wait = s.interval*4/5 + rand.N(s.interval*2/5) //nolint:gosec // spreads load
		default:
			wait = retry + rand.N(retry) //nolint:gosec // spreads load
			retry = min(2*retry, lastSyncRetry)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-s.conn.closed:
			timer.Stop()
			<-ctx.Done()
			return nil
		case <-timer.C:
		case <-changed:
			timer.Stop()
		}
	}
}

// ask requests what is newer than what is held, on this connection alone.
func (s *DesiredStateSource) ask(ctx context.Context, changed <-chan struct{}, held uint64, take func([]byte)) error {
	request, err := contracts.Encode(contracts.SyncRequest{Generation: held})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	})
	reply, err := s.conn.nc.RequestWithContext(ctx, contracts.SyncSubject(s.device), request)
	if err != nil {
		return err
	}
	take(reply.Data)
	return nil
}
