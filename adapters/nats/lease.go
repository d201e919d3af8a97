package nats

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	defaultLease    = "fleet-operator"
	defaultLeaseTTL = 15 * time.Second
)

// ElectorOptions tune an Elector.
type ElectorOptions struct {
	// Lease is the name of what is led; empty is "fleet-operator".
	Lease string
	// TTL is how long leadership outlives its last proof, 1s to 1h; zero is 15s.
	TTL time.Duration
	// Logger is told of failed renewals; nil for none.
	Logger *slog.Logger
}

// Elector is the domain.LeaderElector over the bucket "leases". Every holder
// measures time with its own clock, so that clocks need not agree.
type Elector struct {
	bucket   *bucket
	identity string
	lease    string
	ttl      time.Duration
	log      *slog.Logger
}

var _ domain.LeaderElector = (*Elector)(nil)

// NewElector returns an elector for the process of that identity, which must
// differ from those of all other processes that run; a restarted process that
// has the identity of its predecessor takes its lease over at once.
func NewElector(conn *Conn, identity string, options ElectorOptions) *Elector {
	return &Elector{
		bucket:   newBucket(conn, contracts.BucketLeases),
		identity: identity,
		lease:    cmp.Or(options.Lease, defaultLease),
		ttl:      cmp.Or(options.TTL, defaultLeaseTTL),
		log:      orDiscard(options.Logger),
	}
}

// held is a lease as stored.
type held struct {
	record   contracts.LeaseRecord
	revision domain.Revision
}

// Lead implements domain.LeaderElector. Leadership ends, seen from here, two
// thirds of the TTL after its last proof; that leaves lead a third to return.
func (e *Elector) Lead(ctx context.Context, lead func(ctx context.Context) error) error {
	var seen held
	var since time.Time // when seen became what it is
	for ctx.Err() == nil {
		asked := time.Now()
		mine, other, err := e.acquire(ctx, seen, since)
		switch {
		case err != nil:
			e.log.Warn("leader election failed", slog.String("error", err.Error()))
		case mine != nil:
			err := e.hold(ctx, *mine, asked, lead)
			if err != nil {
				return err
			}
			seen = held{}
		case other.revision != seen.revision:
			seen, since = other, time.Now()
		}
		if !pause(ctx, e.ttl/3) {
			return nil
		}
	}
	return nil
}

// acquire takes the lease when it is free, our own, or has not changed for its
// TTL; otherwise it returns the other's.
func (e *Elector) acquire(ctx context.Context, seen held, since time.Time) (*held, held, error) {
	ctx, cancel := context.WithTimeout(ctx, e.ttl/3)
	defer cancel()
	record := contracts.LeaseRecord{Holder: e.identity, AcquiredAt: time.Now().UTC(), TTL: contracts.Duration(e.ttl)}
	current, err := e.read(ctx)
	switch {
	case err != nil && errors.Is(kindOf(err), domain.ErrNotFound):
		mine, err := e.write(ctx, held{record: record}, e.bucket.create)
		return mine, held{}, err
	case err != nil:
		return nil, held{}, err
	}
	expired := current.revision == seen.revision && time.Since(since) >= current.record.TTL.Std()
	if current.record.Holder != e.identity && !expired {
		return nil, current, nil
	}
	mine, err := e.write(ctx, held{record: record}, func(ctx context.Context, key string, value []byte) (domain.Revision, error) {
		return e.bucket.replace(ctx, key, value, current.revision)
	})
	return mine, current, err
}

func (e *Elector) read(ctx context.Context) (held, error) {
	data, revision, err := e.bucket.get(ctx, e.lease)
	if err != nil {
		return held{}, translate(err, "read lease %q", e.lease)
	}
	record, err := contracts.Decode[contracts.LeaseRecord](data)
	if err != nil {
		return held{}, domain.WrapError(domain.ErrInvalid, err, "stored lease %q", e.lease)
	}
	return held{record: record, revision: revision}, nil
}

// write stores the record; nil without an error when somebody was faster.
func (e *Elector) write(ctx context.Context, lease held, store func(context.Context, string, []byte) (domain.Revision, error)) (*held, error) {
	data, err := contracts.Encode(lease.record)
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "lease %q", e.lease)
	}
	lease.revision, err = store(ctx, e.lease, data)
	if err == nil {
		return &lease, nil
	}
	if kind := kindOf(err); errors.Is(kind, domain.ErrConflict) || errors.Is(kind, domain.ErrAlreadyExists) {
		return nil, nil //nolint:nilnil // nobody's fault: another holds it
	}
	return nil, translate(err, "write lease %q", e.lease)
}

// hold leads until ctx is cancelled, lead returns, or leadership cannot be
// proven; then it waits for lead and releases the lease if it is still ours.
func (e *Elector) hold(ctx context.Context, lease held, proven time.Time, lead func(ctx context.Context) error) error {
	leading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- lead(leading) }()

	// A leader that is asked to stop holds its lease until it has stopped.
	renewing := context.WithoutCancel(ctx)
	next := time.NewTimer(e.ttl / 3)
	defer next.Stop()
	for {
		select {
		case err := <-done:
			e.release(renewing, lease)
			return err
		case <-next.C:
		}
		asked := time.Now()
		renewed, err := e.renew(renewing, lease, proven)
		switch {
		case err == nil && renewed == nil: // another holds it
			stop()
			return <-done
		case err == nil:
			lease, proven = *renewed, asked
			next.Reset(e.ttl / 3)
		case time.Since(proven) >= e.deadline():
			e.log.Warn("leadership can not be proven any more", slog.String("error", err.Error()))
			stop()
			return <-done
		default:
			next.Reset(min(e.ttl/20, max(e.deadline()-time.Since(proven), 0)))
		}
	}
}

// deadline is how long after its last proof leadership ends.
func (e *Elector) deadline() time.Duration { return e.ttl * 2 / 3 }

// renew proves leadership; nil without an error when another holds the lease.
// It ends at the deadline at the latest.
func (e *Elector) renew(ctx context.Context, lease held, proven time.Time) (*held, error) {
	ctx, cancel := context.WithDeadline(ctx, proven.Add(e.deadline()))
	defer cancel()
	next := lease
	next.record.Renewals++
	renewed, err := e.write(ctx, next, func(ctx context.Context, key string, value []byte) (domain.Revision, error) {
		return e.bucket.replace(ctx, key, value, lease.revision)
	})
	if err != nil || renewed != nil {
		return renewed, err
	}
	// An earlier renewal may have been stored without our hearing of it.
	current, err := e.read(ctx)
	switch {
	case err != nil && errors.Is(kindOf(err), domain.ErrNotFound):
		return nil, nil //nolint:nilnil // somebody deleted it: it is not ours
	case err != nil:
		return nil, err
	case current.record.Holder == e.identity && current.record.AcquiredAt.Equal(lease.record.AcquiredAt):
		return &current, nil
	default:
		return nil, nil //nolint:nilnil // another holds it
	}
}

// release gives the lease up. When that fails, it expires.
func (e *Elector) release(ctx context.Context, lease held) {
	ctx, cancel := context.WithTimeout(ctx, e.ttl/3)
	defer cancel()
	if err := e.bucket.remove(ctx, e.lease, lease.revision); err != nil {
		e.log.Warn("lease could not be released and will expire", slog.String("error", err.Error()))
	}
}

// pause waits and returns false when ctx was cancelled meanwhile.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
