package device

import (
	"context"
	"crypto"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// requestTimeout bounds one exchange.
const requestTimeout = 20 * time.Second

// Config says who gets a token, from whom and for what.
type Config struct {
	// Issuer is the provider's URL, such as "https://id.example.com", exactly as
	// the provider names itself: by another name it answers "not found".
	Issuer string
	// ProjectID is the fleet's project at the provider.
	ProjectID string
	// UserID and KeyID are those of the domain.DeviceCredential.
	UserID string
	KeyID  string
	// Signer is the private key, ECDSA P-256 or RSA. It may be held elsewhere, in
	// a TPM for example.
	Signer crypto.Signer
	// CacheFile keeps the token across restarts, readable by its owner alone;
	// empty keeps it in memory.
	CacheFile string
}

// Options of a TokenSource. The zero value works.
type Options struct {
	// Client makes the requests; nil for one with the system's authorities.
	Client *http.Client
	// Logger is told of renewals, of failures of Run, and of a clock that is
	// wrong; nil for none.
	Logger *slog.Logger
	// Scopes are asked for on top of those that name the project and its roles.
	Scopes []string
	// NoProject gets a token without roles in a project, as it takes to call the
	// provider's own API.
	NoProject bool
}

// TokenSource gets and keeps the token of a device. Safe for concurrent use.
type TokenSource struct {
	config Config
	client *http.Client
	log    *slog.Logger
	scope  string
	// noProject says that a token needs no role.
	noProject bool
	// exchanging is held by the one caller who talks to the provider.
	exchanging chan struct{}
	// wake tells Run that the state has changed.
	wake chan struct{}

	mu    sync.Mutex
	state state
}

var _ domain.OperatorTokenProvider = (*TokenSource)(nil)

// NewTokenSource returns a source that goes on with the token in the cache file,
// if that is one of this user. It talks to nobody yet. ErrInvalid when the
// configuration cannot work; a damaged cache is logged and replaced.
func NewTokenSource(config Config, options Options) (*TokenSource, error) {
	issuer, err := url.Parse(config.Issuer)
	if err != nil || issuer.Host == "" || (issuer.Scheme != "https" && issuer.Scheme != "http") || issuer.Path != "" || issuer.RawQuery != "" || issuer.User != nil {
		return nil, domain.Errorf(domain.ErrInvalid, `issuer %q is not a URL such as "https://id.example.com", without a slash at its end`, config.Issuer)
	}
	for name, value := range map[string]string{"project ID": config.ProjectID, "user ID": config.UserID, "key ID": config.KeyID} {
		if value == "" && (name != "project ID" || !options.NoProject) {
			return nil, domain.Errorf(domain.ErrInvalid, "the %s at the identity provider is missing", name)
		}
	}
	if _, err := algorithm(config.Signer); err != nil {
		return nil, err
	}
	s := &TokenSource{
		config: config, client: newClient(options.Client), log: options.Logger,
		scope:      scope(config, options),
		noProject:  options.NoProject,
		exchanging: make(chan struct{}, 1),
		wake:       make(chan struct{}, 1),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.load()
	return s, nil
}

func scope(config Config, options Options) string {
	scopes := []string{"openid"}
	if !options.NoProject {
		scopes = append(scopes, "urn:zitadel:iam:org:project:id:"+config.ProjectID+":aud", "urn:zitadel:iam:org:projects:roles")
	}
	return strings.Join(append(scopes, options.Scopes...), " ")
}

// newClient copies a client: an assertion is never sent where a redirect points.
func newClient(given *http.Client) *http.Client {
	client := http.Client{Timeout: requestTimeout}
	if given != nil {
		client = *given
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// load takes the token of the cache file.
func (s *TokenSource) load() {
	if s.config.CacheFile == "" {
		return
	}
	entry, ok, err := readCache(s.config.CacheFile)
	switch {
	case err != nil:
		s.log.Warn("the token cache cannot be used and will be replaced", "file", s.config.CacheFile, "error", err)
	case ok && entry.Issuer == s.config.Issuer && entry.ProjectID == s.config.ProjectID && entry.UserID == s.config.UserID:
		s.state.hold(entry.Token, entry.ObtainedAt, entry.ExpiresAt)
		s.state.proven = entry.KeyID == s.config.KeyID
	}
}

// Token implements domain.OperatorTokenProvider: it returns the token that is
// held, or gets a new one when that is about to expire. One caller at a time asks
// the provider, and after a failure nobody does for a while. A token that is still
// valid is returned when the provider gives no other. The error is
// ErrUnauthenticated when the key is not accepted, ErrPermissionDenied when the
// user is revoked or has no role, ErrUnavailable when trying again can help.
func (s *TokenSource) Token(ctx context.Context) (domain.Token, error) {
	if token, ok := s.held(state.fresh); ok {
		return token, nil
	}
	err := s.obtain(ctx, func(held state) bool { return !held.fresh() })
	if token, ok := s.held(state.valid); ok {
		return token, nil
	}
	if err == nil { // its lifetime is over already
		err = domain.Errorf(domain.ErrUnavailable, "the identity provider gives tokens that live too short to be used")
	}
	return domain.Token{}, err
}

// Refused tells the source that the broker did not accept a token, although it is
// valid as far as this device knows. Run then renews it once, after a random
// while that grows when new tokens are refused as well: it may be the broker's
// fault, and all devices are told at once.
func (s *TokenSource) Refused(token string) {
	s.mu.Lock()
	s.state.refuse(token)
	s.mu.Unlock()
	s.notify()
}

// Run renews the token well before it expires, at a random time, until ctx ends.
// It returns nil then.
func (s *TokenSource) Run(ctx context.Context) error {
	for {
		s.mu.Lock()
		wait := s.state.untilRenewal()
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-s.wake:
			timer.Stop()
			continue
		case <-timer.C:
		}
		if err := s.obtain(ctx, state.due); err != nil && ctx.Err() == nil {
			s.log.Warn("the device's token could not be renewed", "error", err, "retryIn", s.retryIn())
		}
	}
}

func (s *TokenSource) held(usable func(state) bool) (domain.Token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !usable(s.state) {
		return domain.Token{}, false
	}
	return s.state.localToken(), true
}

func (s *TokenSource) retryIn() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Until(s.state.retryAt).Round(time.Second)
}

func (s *TokenSource) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// obtain gets a new token if one is wanted still when it is this caller's turn.
func (s *TokenSource) obtain(ctx context.Context, wanted func(state) bool) error {
	select {
	case s.exchanging <- struct{}{}:
		defer func() { <-s.exchanging }()
	case <-ctx.Done():
		return domain.WrapError(domain.ErrUnavailable, ctx.Err(), "no token of %s yet", s.config.Issuer)
	}
	s.mu.Lock()
	held := s.state
	s.mu.Unlock()
	if !wanted(held) {
		return nil
	}
	if held.pausing() {
		return held.failure
	}
	err := s.renew(ctx, held.proven)
	if err != nil && ctx.Err() != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "no token of %s yet", s.config.Issuer) // nobody's failure
	}
	if err != nil {
		s.mu.Lock()
		s.state.fail(err)
		s.mu.Unlock()
	}
	s.notify()
	return err
}

// keep takes a new token.
func (s *TokenSource) keep(granted grant) {
	s.mu.Lock()
	now := s.state.clock.now()
	s.state.hold(granted.token, now, now.Add(granted.lifetime))
	s.state.proven = true
	entry := cached{
		Issuer: s.config.Issuer, ProjectID: s.config.ProjectID, UserID: s.config.UserID, KeyID: s.config.KeyID,
		Token: granted.token, ObtainedAt: s.state.obtained, ExpiresAt: s.state.expires,
	}
	s.mu.Unlock()
	s.log.Info("got a new token", "user", s.config.UserID, "expires", entry.ExpiresAt.UTC())
	if s.config.CacheFile == "" {
		return
	}
	if err := writeCache(s.config.CacheFile, entry); err != nil {
		s.log.Warn("the token could not be kept on disk", "file", s.config.CacheFile, "error", err)
	}
}
