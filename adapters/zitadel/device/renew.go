package device

import (
	"context"
	"errors"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// firstLag doubles with each of lagAttempts: what was just provisioned can
	// take a moment to be seen by the token endpoint.
	firstLag    = 50 * time.Millisecond
	lagAttempts = 5
)

// renew gets a token and keeps it. With a key that has given a token before, a
// refusal is taken at its word; before that, it can be the lag after
// provisioning, and is asked for again. A refusal that the device's clock
// explains is asked for again with the provider's time.
func (s *TokenSource) renew(ctx context.Context, proven bool) error {
	corrected := false
	for attempt := 0; ; {
		before, started := s.clock().now(), time.Now()
		granted, err := s.attempt(ctx)
		if err == nil {
			s.keep(granted)
			return nil
		}
		_, refused := errors.AsType[*refusal](err)
		moved := s.clock().now().Sub(before) - time.Since(started)
		if refused && !corrected && skewed(moved) {
			corrected = true
			continue
		}
		if proven || !isLag(err) || attempt == lagAttempts {
			return s.explain(s.translate(err))
		}
		if !pause(ctx, firstLag<<attempt) {
			return s.translate(err)
		}
		attempt++
	}
}

// attempt makes one exchange, and takes the provider's time from it.
func (s *TokenSource) attempt(ctx context.Context) (grant, error) {
	issued := s.clock().now().Add(-assertionBackdate)
	signed, err := signAssertion(s.config.Signer, s.config.KeyID, assertion{
		Issuer: s.config.UserID, Subject: s.config.UserID, Audience: s.config.Issuer,
		IssuedAt: issued.Unix(), Expires: issued.Add(assertionLifetime).Unix(),
	})
	if err != nil {
		return grant{}, err
	}
	granted, date, err := s.exchange(ctx, signed)
	s.measure(date)
	if err == nil && !s.noProject && !hasRole(granted.token, s.config.ProjectID) {
		return grant{}, errNoRole
	}
	return granted, err
}

func (s *TokenSource) clock() clock {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.clock
}

// measure takes the provider's time, and says once when the local clock is wrong.
func (s *TokenSource) measure(date time.Time) {
	s.mu.Lock()
	s.state.clock = s.state.clock.measured(date, time.Now())
	skew := s.state.clock.skew()
	warn := skewed(skew) && skewed(skew-s.state.warnedSkew)
	if warn || !skewed(skew) {
		s.state.warnedSkew = skew
	}
	s.mu.Unlock()
	if warn {
		s.log.Warn("the clock of this device is wrong; tokens are asked for with the identity provider's time", "skew", skew, "advice", describeSkew(skew))
	}
}

// explain adds what is wrong with the clock to an error.
func (s *TokenSource) explain(err error) error {
	skew := s.clock().skew()
	if !skewed(skew) {
		return err
	}
	for _, kind := range []error{domain.ErrUnauthenticated, domain.ErrPermissionDenied} {
		if errors.Is(err, kind) {
			return domain.WrapError(kind, err, "%s", describeSkew(skew))
		}
	}
	return err
}

// pause waits about d, and reports whether the wait came to its end.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d*3/4 + jitter(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
