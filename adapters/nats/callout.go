package nats

import (
	"cmp"
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	calloutSubject    = "$SYS.REQ.USER.AUTH"
	calloutQueueGroup = "fleet-callout"
	defaultWorkers    = 64
	// verifyTimeout bounds one decision: a client waits for it.
	verifyTimeout = 20 * time.Second
	flushTimeout  = 5 * time.Second
)

// CalloutConns are the connections of a Callout. Both should be made with a
// small ReconnectWait and ReconnectJitter: until the callout is back nobody
// else can connect, and who tries meanwhile waits for the broker's time limit.
type CalloutConns struct {
	// Auth is that of ServerConfig.CalloutUser.
	Auth *Conn
	// System is that of ServerConfig.SystemUser, which finds and ends
	// connections.
	System *Conn
}

// CalloutKeys are the secrets of a Callout; see LoadCalloutKeys.
type CalloutKeys struct {
	issuer, exchange nkeys.KeyPair
}

// LoadCalloutKeys reads the seed files whose public keys are
// ServerConfig.Issuer and ServerConfig.Exchange: ErrInvalid when one cannot be
// used. Without a file for the exchange, requests are not encrypted.
func LoadCalloutKeys(issuerFile, exchangeFile string) (CalloutKeys, error) {
	issuer, err := readKey(issuerFile, IssuerKey)
	if err != nil || exchangeFile == "" {
		return CalloutKeys{issuer: issuer}, err
	}
	exchange, err := readKey(exchangeFile, ExchangeKey)
	return CalloutKeys{issuer: issuer, exchange: exchange}, err
}

// CalloutOptions tune a Callout.
type CalloutOptions struct {
	// Accounts are those of ServerConfig; the zero value has the defaults.
	Accounts Accounts
	// Workers is how many requests are decided at once; zero is 64.
	Workers int
	// Revoke and Restore tell the identity provider that a device was revoked or
	// restored: those of domain.DeviceCredentialMinter. They are called again
	// until they succeed, and by every instance. Nil for none.
	Revoke, Restore func(context.Context, contracts.DeviceID) error
	// ConnectionsPerDevice is how many connections one device may hold; the
	// oldest above are ended at the next look. Zero is 8.
	ConnectionsPerDevice int
	// LookEvery is how often all connections are looked at; zero is 10m.
	LookEvery time.Duration
	// Logger is told of what cannot be an event; nil for none.
	Logger *slog.Logger
}

// Callout decides who may connect to the broker, and as whom, by tokens. It
// disconnects devices that are revoked or removed from the registry. Any number
// of instances share the work.
type Callout struct {
	conns    CalloutConns
	codec    calloutCodec
	verifier domain.TokenVerifier
	registry domain.DeviceRegistry
	access   *accessList
	limit    *admissionLimit
	denials  *denialLog
	cutter   *cutter
	provider *providerSync
	counters *calloutCounters
	accounts Accounts
	workers  int
	log      *slog.Logger
	serving  chan struct{}
	// toldLate is when late requests were logged last, in Unix nanoseconds.
	toldLate atomic.Int64
}

// NewCallout returns a callout. The registry and the events need the
// operator's connection.
func NewCallout(conns CalloutConns, keys CalloutKeys, verifier domain.TokenVerifier, registry domain.DeviceRegistry, events domain.EventLog, options CalloutOptions) *Callout {
	log := orDiscard(options.Logger)
	accounts := options.Accounts.withDefaults()
	c := &Callout{
		conns:    conns,
		codec:    calloutCodec(keys),
		verifier: verifier,
		registry: registry,
		access:   newAccessList(),
		limit:    newAdmissionLimit(),
		denials:  newDenialLog(events, log),
		provider: newProviderSync(options.Revoke, options.Restore, log),
		counters: newCalloutCounters(),
		accounts: accounts,
		workers:  cmp.Or(options.Workers, defaultWorkers),
		log:      log,
		serving:  make(chan struct{}),
	}
	c.cutter = newCutter(&broker{conn: conns.System, account: accounts.Fleet}, c.access, cutterOptions{
		perDevice: cmp.Or(options.ConnectionsPerDevice, defaultPerDevice),
		every:     cmp.Or(options.LookEvery, defaultLookEvery),
		log:       log,
	})
	return c
}

// Stats returns the counts so far.
func (c *Callout) Stats() CalloutStats { return c.counters.stats(c.denials, c.cutter) }

// Serving returns a channel that is closed once requests are decided. Clients
// that connect before wait for the broker's time limit.
func (c *Callout) Serving() <-chan struct{} { return c.serving }

// Run decides until ctx is cancelled and then returns nil, or the error of the
// subscription or of the registry. It goes on across lost connections. It
// decides nothing before it knows the whole registry.
func (c *Callout) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	known := make(chan struct{})
	group.Go(func() error { return c.watchRegistry(ctx, known) })
	group.Go(func() error { return c.denials.run(ctx) })
	group.Go(func() error { return c.cutter.run(ctx, known) })
	group.Go(func() error { return c.provider.run(ctx) })
	group.Go(func() error {
		select {
		case <-known:
			return c.serve(ctx)
		case <-ctx.Done():
			return nil
		}
	})
	return group.Wait()
}

// serve answers requests. nats.go hands a subscription's messages over one at
// a time, so workers take them from it.
func (c *Callout) serve(ctx context.Context) error {
	requests := make(chan *nats.Msg)
	sub, err := c.conns.Auth.nc.QueueSubscribe(calloutSubject, calloutQueueGroup, func(msg *nats.Msg) {
		select {
		case requests <- msg:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return translate(err, "subscribe to authorization requests")
	}
	group := errgroup.Group{}
	for range c.workers {
		group.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case msg := <-requests:
					c.answer(ctx, msg)
				}
			}
		})
	}
	c.announce(ctx)
	err = group.Wait()
	_ = sub.Unsubscribe() // fails when the connection is closed, and then it is ended
	return err
}

// answer decides one request. One that does not decode gets no answer: nobody
// knows for whom it would be.
func (c *Callout) answer(ctx context.Context, msg *nats.Msg) {
	began := time.Now()
	request, err := c.codec.decode(msg.Header, msg.Data)
	if err != nil {
		c.counters.malformed.Add(1)
		c.log.Warn("authorization request refused: check that broker and callout are configured with the same keys", slog.String("error", err.Error()))
		return
	}
	if !began.Before(request.deadline) {
		c.counters.late.Add(1) // the client has gone
		c.tellLate(began, began.Sub(request.deadline))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, min(verifyTimeout, time.Until(request.deadline)))
	defer cancel()
	admitted, denied := c.decide(ctx, request)
	var response []byte
	if denied == nil {
		response, err = c.codec.admit(request, admitted)
	} else {
		response, err = c.codec.refuse(request, denied.Error())
	}
	if err == nil {
		err = c.conns.Auth.nc.Publish(msg.Reply, response)
	}
	if err != nil {
		c.counters.unanswered.Add(1)
		c.log.Warn("authorization request could not be answered", slog.String("error", err.Error()))
		return
	}
	c.counters.decided(admitted.role, denied, time.Since(began))
}

// tellLate logs, once a minute at most, that clients were given up.
func (c *Callout) tellLate(now time.Time, by time.Duration) {
	last := c.toldLate.Load()
	if now.UnixNano()-last >= int64(time.Minute) && c.toldLate.CompareAndSwap(last, now.UnixNano()) {
		c.log.Warn("authorization requests come after their time limit, and their clients do not get in: check that the clocks of broker and callout agree, and whether the callout is overloaded",
			slog.Duration("late", by), slog.Uint64("sinceStart", c.counters.late.Load()))
	}
}

// announce says that requests are decided, once the broker has the
// subscription.
func (c *Callout) announce(ctx context.Context) {
	for c.conns.Auth.nc.FlushTimeout(flushTimeout) != nil {
		if !pause(ctx, firstRetry) {
			return
		}
	}
	close(c.serving)
	c.log.Info("the auth callout decides who may connect", slog.Int("workers", c.workers))
}
