package nats

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// tokenTimeout bounds the wait for a token before a connection attempt.
	tokenTimeout = 10 * time.Second
	// Before a token expires the connection is made again with the next one, so
	// that the broker does not end it. The first attempt to get it comes so long
	// before, but not before this part of the remaining time is left.
	renewalLead = 10 * time.Minute
	renewalPart = 4
	// renewalRetry is the shortest time between attempts.
	renewalRetry = time.Second
)

// errNoToken means that an attempt was not made.
var errNoToken = errors.New("no token to connect with")

// TokenSource gives the token to connect with. Its method should return a
// cached token while that is valid, blocks otherwise, and is called by one
// goroutine at a time.
type TokenSource interface {
	Token(ctx context.Context) (domain.Token, error)
}

// TokenCredential authenticates by tokens, which the broker's auth callout
// verifies. The source is asked before every connection attempt, and some time
// before the token expires: with a newer token the connection is made again,
// which takes a moment and keeps all subscriptions. An attempt for which there
// is no token is not made, and the link says why.
func TokenCredential(source TokenSource) Credential { return Credential{source: source} }

// tokenKeeper keeps the token of one connection.
type tokenKeeper struct {
	source TokenSource

	// asking is held while the source is asked.
	asking sync.Mutex

	mu    sync.Mutex
	token domain.Token
}

// ask asks the source for a token.
func (k *tokenKeeper) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	k.asking.Lock()
	defer k.asking.Unlock()
	token, err := k.source.Token(ctx)
	if err != nil {
		return domain.WrapError(kindOf(err), errors.Join(errNoToken, err), "get a token")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.token = token
	return nil
}

// prepare is called before every attempt to connect. When the source has no
// token, the last one will do until it expires.
func (k *tokenKeeper) prepare(ctx context.Context) error {
	err := k.ask(ctx)
	if err != nil && time.Now().Before(k.expires()) {
		return nil
	}
	return err
}

// value is called by nats.go, after prepare.
func (k *tokenKeeper) value() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.token.Value
}

func (k *tokenKeeper) expires() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.token.ExpiresAt
}

// keepTokens renews the connection's tokens until Close.
func (c *Conn) keepTokens(ctx context.Context) {
	ctx, c.stopRenew = context.WithCancel(context.WithoutCancel(ctx))
	if c.tokens != nil {
		c.renewing.Go(func() { c.renewTokens(ctx, c.tokens) })
	}
}

// renewTokens makes the connection again before its token expires, until ctx is
// cancelled.
func (c *Conn) renewTokens(ctx context.Context, keeper *tokenKeeper) {
	for {
		state, epoch, changed := c.link()
		if !state.Connected {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			continue
		}
		c.renewFor(ctx, keeper, epoch, changed)
		if ctx.Err() != nil {
			return
		}
	}
}

// renewFor serves one connection. It returns when that has ended.
func (c *Conn) renewFor(ctx context.Context, keeper *tokenKeeper, epoch uint64, changed <-chan struct{}) {
	expires := keeper.expires()
	remaining := time.Until(expires)
	if expires.IsZero() {
		waitClosed(ctx, changed)
		return
	}
	lead := min(renewalLead, remaining/renewalPart)
	wait := remaining - lead - jitterOf(lead/2)
	for {
		timer := time.NewTimer(max(wait, renewalRetry/4))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
			timer.Stop()
			return
		case <-timer.C:
		}
		err := keeper.ask(ctx)
		if err == nil && keeper.expires().After(expires) {
			c.log.Debug("connecting again, with a newer token", slog.Uint64("connection", epoch))
			if c.nc.ForceReconnect() == nil {
				waitClosed(ctx, changed)
			}
			return
		}
		if err != nil && ctx.Err() == nil {
			c.log.Warn("the token expires soon and there is no newer one yet, which is tried again",
				slog.Time("expires", expires), slog.String("error", err.Error()))
		}
		wait = max(renewalRetry, time.Until(expires)/renewalPart)
	}
}

func waitClosed(ctx context.Context, changed <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-changed:
	}
}

// jitterOf spreads load over time.
func jitterOf(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most) //nolint:gosec // spreads load, guards nothing
}
