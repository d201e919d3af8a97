package nats

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	firstProviderRetry = time.Second
	lastProviderRetry  = time.Minute
	providerTimeout    = 30 * time.Second
)

// providerSync tells the identity provider which devices were revoked and
// restored, until it knows.
type providerSync struct {
	revoke, restore func(context.Context, contracts.DeviceID) error
	log             *slog.Logger
	wake            chan struct{}

	mu sync.Mutex
	// wanted is what the provider shall know: true for revoked.
	wanted map[contracts.DeviceID]bool
}

func newProviderSync(revoke, restore func(context.Context, contracts.DeviceID) error, log *slog.Logger) *providerSync {
	return &providerSync{revoke: revoke, restore: restore, log: log, wake: make(chan struct{}, 1), wanted: map[contracts.DeviceID]bool{}}
}

// want notes what the provider shall know of a device. It does not block.
func (p *providerSync) want(device contracts.DeviceID, revoked bool) {
	if revoked && p.revoke == nil || !revoked && p.restore == nil {
		return
	}
	p.mu.Lock()
	p.wanted[device] = revoked
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run tells the provider until ctx is cancelled.
func (p *providerSync) run(ctx context.Context) error {
	delay := firstProviderRetry
	for {
		failed := p.tellAll(ctx)
		if failed == nil {
			delay = firstProviderRetry
			select {
			case <-ctx.Done():
				return nil
			case <-p.wake:
			}
			continue
		}
		if ctx.Err() == nil {
			p.log.Warn("the identity provider does not know yet which devices are revoked, and is told again; the broker refuses them already",
				slog.Duration("next", delay), slog.String("error", failed.Error()))
		}
		if !pause(ctx, delay) {
			return nil
		}
		delay = min(2*delay, lastProviderRetry)
	}
}

// tellAll tells all that is wanted and returns the last error.
func (p *providerSync) tellAll(ctx context.Context) error {
	var failed error
	for device, revoked := range p.pending() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := p.tell(ctx, device, revoked); err != nil {
			failed = err
			continue
		}
		p.mu.Lock()
		if now, ok := p.wanted[device]; ok && now == revoked {
			delete(p.wanted, device)
		}
		p.mu.Unlock()
	}
	return failed
}

func (p *providerSync) tell(ctx context.Context, device contracts.DeviceID, revoked bool) error {
	ctx, cancel := context.WithTimeout(ctx, providerTimeout)
	defer cancel()
	call := p.restore
	if revoked {
		call = p.revoke
	}
	err := call(ctx, device)
	if errors.Is(err, domain.ErrNotFound) {
		return nil // it has no identity there
	}
	if err == nil {
		p.log.Info("the identity provider knows", slog.String("device", string(device)), slog.Bool("revoked", revoked))
	}
	return err
}

func (p *providerSync) pending() map[contracts.DeviceID]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.wanted)
}
