package device

import (
	"math/rand/v2"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// maxReserve is how long before its expiry a token is not given out any more
	// if there is another; a tenth of the lifetime when that is less.
	maxReserve = time.Minute
	// firstPause doubles up to maxPause while the provider gives no token.
	firstPause = time.Second
	maxPause   = 5 * time.Minute
	// firstSpread doubles up to maxSpread while new tokens are refused.
	firstSpread = 2 * time.Minute
	maxSpread   = time.Hour
	// look is how often Run compares with the clock at least: timers stand still
	// while a host is suspended.
	look = time.Minute
)

// state is what a source holds. Times are the provider's, except retryAt.
type state struct {
	clock             clock
	token             string
	obtained, expires time.Time
	renewAt           time.Time
	proven            bool // the key has given a token
	refused           string
	spread            time.Duration
	failure           error
	failures          int
	retryAt           time.Time
	warnedSkew        time.Duration
}

// hold takes a token, and draws when to renew it: between half and three quarters
// of its lifetime, so that those who started together do not renew together.
func (s *state) hold(token string, obtained, expires time.Time) {
	lifetime := expires.Sub(obtained)
	s.token, s.obtained, s.expires = token, obtained.Round(0), expires.Round(0)
	s.renewAt = s.obtained.Add(lifetime/2 + jitter(lifetime/4))
	s.failure, s.failures, s.retryAt = nil, 0, time.Time{}
}

// fail notes a failed attempt, and draws when the next one may be.
func (s *state) fail(err error) {
	pause := firstPause << min(s.failures, 20)
	pause = min(pause, maxPause)
	s.failure = err
	s.failures++
	s.retryAt = time.Now().Add(pause/2 + jitter(pause/2))
}

// refuse brings the renewal of the token forward, once for each token.
func (s *state) refuse(token string) {
	if token == "" || token != s.token || token == s.refused {
		return
	}
	if s.refused == "" {
		s.spread = firstSpread
	} else {
		s.spread = min(2*s.spread, maxSpread)
	}
	s.refused = token
	if at := s.clock.now().Add(jitter(s.spread)); at.Before(s.renewAt) {
		s.renewAt = at
	}
}

// valid reports whether the token can still be used.
func (s state) valid() bool { return s.token != "" && s.clock.now().Before(s.expires) }

// fresh reports whether the token is valid for a while.
func (s state) fresh() bool {
	reserve := min(maxReserve, s.expires.Sub(s.obtained)/10)
	return s.token != "" && s.clock.now().Before(s.expires.Add(-reserve))
}

// due reports whether it is time for a new token.
func (s state) due() bool { return s.token == "" || !s.clock.now().Before(s.renewAt) }

// pausing reports whether it is too early for another attempt.
func (s state) pausing() bool { return s.failure != nil && time.Now().Before(s.retryAt) }

// untilRenewal is how long Run waits before it looks again.
func (s state) untilRenewal() time.Duration {
	wait := time.Duration(0)
	if s.token != "" {
		wait = s.renewAt.Sub(s.clock.now())
	}
	if s.failure != nil {
		wait = max(wait, time.Until(s.retryAt))
	}
	return min(max(wait, 0), look)
}

// localToken is the token with its expiry on the local clock.
func (s state) localToken() domain.Token {
	return domain.Token{Value: s.token, ExpiresAt: time.Now().Round(0).Add(s.expires.Sub(s.clock.now()))}
}

func jitter(up time.Duration) time.Duration {
	if up <= 0 {
		return 0
	}
	return rand.N(up) //nolint:gosec // spreads load, guards nothing
}
