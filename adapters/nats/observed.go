package nats

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// ObservedStateConsumer is the domain.ObservedStateConsumer over the streams
// "device-reports" and "device-heartbeats". The heartbeats are in memory: when
// a broker lost their stream, it is made again.
type ObservedStateConsumer struct {
	conn    *Conn
	dropped atomic.Uint64
}

var _ domain.ObservedStateConsumer = (*ObservedStateConsumer)(nil)

// NewObservedStateConsumer returns a consumer over the operator's or a tool's
// connection.
func NewObservedStateConsumer(conn *Conn) *ObservedStateConsumer {
	return &ObservedStateConsumer{conn: conn}
}

// Dropped is how many messages did not decode and were left out.
func (o *ObservedStateConsumer) Dropped() uint64 { return o.dropped.Load() }

// Consume implements domain.ObservedStateConsumer.
func (o *ObservedStateConsumer) Consume(ctx context.Context, handle func(domain.Observation) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &consumption{handle: handle, behind: 2}
	// A broker with replicas does not lose a stream, so those made here have one.
	streams := []jetstream.StreamConfig{reportsStream(1), heartbeatsStream(1)}
	decoders := []decoder{decodeReport, decodeHeartbeat}
	errs := make([]error, len(streams))
	var following sync.WaitGroup
	for i, config := range streams {
		following.Go(func() {
			defer cancel()
			errs[i] = o.conn.follow(ctx, followSpec{
				stream:   config.Name,
				last:     true,
				caughtUp: c.caughtUp,
				make: func(ctx context.Context) error {
					_, err := o.conn.js.CreateStream(ctx, config)
					return err
				},
			}, func(message stored) error {
				observation, ok := decoders[i](message)
				if !ok {
					o.dropped.Add(1)
					return nil
				}
				observation.At = message.at
				return c.observe(observation)
			})
		})
	}
	following.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// consumption serializes what two streams deliver.
type consumption struct {
	mu     sync.Mutex
	handle func(domain.Observation) error
	behind int
	failed bool
}

func (c *consumption) observe(observation domain.Observation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.callLocked(observation)
}

// caughtUp is called once for each stream.
func (c *consumption) caughtUp() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.behind--; c.behind > 0 {
		return nil
	}
	return c.callLocked(domain.Observation{CaughtUp: true})
}

// callLocked stops calling once handle returned an error.
func (c *consumption) callLocked(observation domain.Observation) error {
	if c.failed {
		return nil
	}
	err := c.handle(observation)
	c.failed = err != nil
	return err
}

// Forget implements domain.ObservedStateConsumer.
func (o *ObservedStateConsumer) Forget(ctx context.Context, device contracts.DeviceID) error {
	if err := checkDevice(device); err != nil {
		return err
	}
	if err := o.conn.refuseViewer("make it forget a device"); err != nil {
		return err
	}
	subjects := map[string]string{
		contracts.StreamReports:    contracts.ReportsSubject(device),
		contracts.StreamHeartbeats: contracts.HeartbeatSubject(device),
	}
	for name, subject := range subjects {
		stream, err := o.conn.js.Stream(ctx, name)
		if isMissingStream(err) {
			continue
		}
		if err == nil {
			err = stream.Purge(ctx, jetstream.WithPurgeSubject(subject))
		}
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return translate(err, "forget device %q", device)
		}
	}
	return nil
}

// decoder reads one message; false when it is malformed.
type decoder func(stored) (domain.Observation, bool)

func decodeReport(message stored) (domain.Observation, bool) {
	device, kind, err := contracts.ParseReportSubject(message.subject)
	if err != nil {
		return domain.Observation{}, false
	}
	observation := domain.Observation{Device: device}
	switch kind {
	case contracts.ReportInfo:
		info, err := contracts.Decode[contracts.DeviceInfo](message.data)
		observation.Info = &info
		return observation, err == nil
	case contracts.ReportState:
		report, err := contracts.Decode[contracts.DeviceReport](message.data)
		observation.Report = &report
		return observation, err == nil
	default:
		return domain.Observation{}, false
	}
}

func decodeHeartbeat(message stored) (domain.Observation, bool) {
	device, err := contracts.ParseHeartbeatSubject(message.subject)
	if err != nil {
		return domain.Observation{}, false
	}
	heartbeat, err := contracts.Decode[contracts.Heartbeat](message.data)
	if err != nil {
		return domain.Observation{}, false
	}
	// The subject keeps its message alive; the ID outlives it by far.
	device = contracts.DeviceID(strings.Clone(string(device)))
	return domain.Observation{Device: device, Heartbeat: &heartbeat}, true
}
