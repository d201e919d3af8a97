package nats

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nationtech/harmony-fleet/domain"
)

// follower is the state of one call of follow.
type follower struct {
	conn   *Conn
	spec   followSpec
	handle func(stored) error

	// Of the stream as it was at the first attempt.
	begun   bool
	created time.Time
	first   uint64

	// mu is held while handle is called.
	mu      sync.Mutex
	current *flow
	last    uint64
	caught  bool
	resumed bool
}

// flow is one consumer of the server.
type flow struct {
	delivered uint64 // consumer sequence
	skew      time.Duration
	heard     time.Time
	ended     chan error
}

// attempt follows through one consumer and returns when that is broken.
func (f *follower) attempt(ctx context.Context) error {
	info, err := f.inspect(ctx)
	if err != nil {
		return err
	}
	_, epoch, changed := f.conn.link()
	this := &flow{skew: time.Since(info.TimeStamp), heard: time.Now(), ended: make(chan error, 1)}
	inbox := f.conn.nc.NewInbox()
	sub, err := f.conn.nc.Subscribe(inbox, func(msg *nats.Msg) { f.receive(this, msg) })
	if err != nil {
		return err
	}
	defer f.stop(sub)
	if err := sub.SetPendingLimits(-1, -1); err != nil { // flow control bounds it
		return err
	}
	if err := f.start(ctx, this, inbox); err != nil {
		return err
	}
	for {
		timer := time.NewTimer(idleHeartbeat)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case err := <-this.ended:
			timer.Stop()
			return err
		case <-changed:
			timer.Stop()
			var now uint64
			if _, now, changed = f.conn.link(); now != epoch {
				return nil
			}
		case <-timer.C:
			if f.silent(this) {
				return nil
			}
		case <-f.conn.closed:
			timer.Stop()
			return &finalError{domain.Errorf(domain.ErrUnavailable, "stream %s: the connection to the broker was closed", f.spec.stream)}
		}
	}
}

// inspect returns the stream's state and checks that it still holds what was
// delivered from it.
func (f *follower) inspect(ctx context.Context) (*jetstream.StreamInfo, error) {
	stream, err := f.conn.js.Stream(ctx, f.spec.stream)
	if isMissingStream(err) {
		if f.spec.make == nil {
			if f.begun {
				return nil, f.lost()
			}
			return nil, err
		}
		if err := f.spec.make(ctx); err != nil {
			return nil, err
		}
		stream, err = f.conn.js.Stream(ctx, f.spec.stream)
	}
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	f.mu.Lock()
	defer f.mu.Unlock()
	again := f.begun && !info.Created.Equal(f.created)
	if again || info.State.LastSeq < f.last {
		if f.spec.make == nil {
			return nil, f.lost()
		}
		f.last = 0
	}
	if !f.begun {
		f.first = info.State.LastSeq
	}
	f.resumed = f.begun
	f.begun = true
	f.created = info.Created
	return info, nil
}

func (f *follower) lost() error {
	return &finalError{domain.WrapError(domain.ErrUnavailable, errStreamIsLost, "follow stream %s", f.spec.stream)}
}

// start makes the consumer. Nothing is handled before it is known whether there
// is anything to wait for.
func (f *follower) start(ctx context.Context, this *flow, inbox string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	consumer, err := f.conn.js.CreatePushConsumer(ctx, f.spec.stream, f.config(inbox))
	if err != nil {
		return err
	}
	f.current = this
	if consumer.CachedInfo().NumPending == 0 {
		return f.finish(f.catchUp())
	}
	return nil
}

func (f *follower) config(inbox string) jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		DeliverSubject:    inbox,
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		MaxDeliver:        1,
		FilterSubjects:    f.spec.subjects,
		FlowControl:       true,
		IdleHeartbeat:     idleHeartbeat,
		InactiveThreshold: inactiveThreshold,
		MemoryStorage:     true,
		Replicas:          1,
	}
	switch {
	case f.last > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.last+1
	case f.spec.last:
		config.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
		if len(config.FilterSubjects) == 0 {
			config.FilterSubjects = []string{">"}
		}
	case !f.spec.since.IsZero():
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &f.spec.since
	}
	return config
}

// stop ends a flow: when it returns, handle is not called any more.
func (f *follower) stop(sub *nats.Subscription) {
	_ = sub.Unsubscribe() // fails when the connection is closed, and then it is ended
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current = nil
}

func (f *follower) silent(this *flow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(this.heard) > 3*idleHeartbeat
}

// receive takes one message of a flow.
func (f *follower) receive(this *flow, msg *nats.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current != this {
		return
	}
	this.heard = time.Now()
	if err := f.take(this, msg); err != nil {
		f.current = nil
		this.ended <- err
	}
}

func (f *follower) take(this *flow, msg *nats.Msg) error {
	if len(msg.Data) == 0 && msg.Header.Get("Status") == "100" {
		return f.control(this, msg)
	}
	meta, err := msg.Metadata()
	if err != nil || meta.Sequence.Consumer != this.delivered+1 {
		return errBroken
	}
	this.delivered++
	f.last = meta.Sequence.Stream
	err = f.handle(stored{
		subject:  msg.Subject,
		header:   msg.Header,
		data:     msg.Data,
		sequence: meta.Sequence.Stream,
		at:       meta.Timestamp.Add(this.skew),
		initial:  !f.resumed && meta.Sequence.Stream <= f.first,
	})
	if err == nil && meta.NumPending == 0 {
		err = f.catchUp()
	}
	return f.finish(err)
}

// control answers flow control and learns from idle heartbeats.
func (f *follower) control(this *flow, msg *nats.Msg) error {
	reply := msg.Reply
	if stalled := msg.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		reply = stalled
	}
	if reply != "" {
		return f.conn.nc.Publish(reply, nil)
	}
	if sent, err := strconv.ParseUint(msg.Header.Get("Nats-Last-Consumer"), 10, 64); err == nil && sent != this.delivered {
		return errBroken
	}
	return f.finish(f.catchUp())
}

func (f *follower) catchUp() error {
	if f.caught || f.spec.caughtUp == nil {
		return nil
	}
	f.caught = true
	return f.spec.caughtUp()
}

// finish makes an error of the caller's own functions final.
func (f *follower) finish(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}
