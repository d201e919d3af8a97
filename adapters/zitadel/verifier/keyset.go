package verifier

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/internal/privatefile"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	keysPath = "/oauth/v2/keys"
	// fetchTimeout bounds one request for the keys.
	fetchTimeout = 10 * time.Second
	// fetchPause is the least time between two requests that tokens cause: tokens
	// with invented key IDs cost the provider no more than that.
	fetchPause = 5 * time.Second
	// refreshEvery is what the provider says its keys may be cached for.
	refreshEvery = 5 * time.Minute
	maxKeySet    = 1 << 20
	maxKeys      = 100
)

// keySet holds the provider's public keys by their ID.
type keySet struct {
	issuer string
	file   string
	client *http.Client
	log    *slog.Logger
	keys   atomic.Pointer[map[string]jose.JSONWebKey]
	// fetching is held by the one who asks the provider, and guards what follows.
	fetching  chan struct{}
	attempted time.Time
	failure   error
}

// find returns a key. One that is not known is asked for, by one caller at a
// time. The others wait as long as no key is known at all, and do not once some
// are: whoever sends invented key IDs must not hold up those who send real ones.
func (s *keySet) find(ctx context.Context, id string) (jose.JSONWebKey, error) {
	if key, ok := s.known(id); ok {
		return key, nil
	}
	if !s.acquire(ctx) {
		return jose.JSONWebKey{}, domain.Errorf(domain.ErrUnavailable, "the keys of %s are being fetched: try again", s.issuer)
	}
	defer func() { <-s.fetching }()
	if key, ok := s.known(id); ok {
		return key, nil
	}
	err := s.failure
	if s.attempted.IsZero() || time.Since(s.attempted) >= fetchPause {
		err = s.fetch(ctx)
	}
	key, ok := s.known(id)
	switch {
	case ok:
		return key, nil
	case err != nil:
		return jose.JSONWebKey{}, err
	default:
		return jose.JSONWebKey{}, domain.Errorf(domain.ErrUnauthenticated, "the token is not signed by a key of %s", s.issuer)
	}
}

func (s *keySet) known(id string) (jose.JSONWebKey, bool) {
	keys := s.keys.Load()
	if keys == nil {
		return jose.JSONWebKey{}, false
	}
	key, ok := (*keys)[id]
	return key, ok
}

// acquire takes the turn to fetch, and reports whether it has it.
func (s *keySet) acquire(ctx context.Context) bool {
	if s.keys.Load() != nil {
		select {
		case s.fetching <- struct{}{}:
			return true
		default:
			return false
		}
	}
	select {
	case s.fetching <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// refresh fetches the keys, so that one that was withdrawn is not believed for
// ever.
func (s *keySet) refresh(ctx context.Context) error {
	select {
	case s.fetching <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-s.fetching }()
	return s.fetch(ctx)
}

// fetch is called by the one whose turn it is. The old keys stay when it fails.
func (s *keySet) fetch(ctx context.Context) error {
	data, keys, err := s.request(ctx)
	if err != nil && ctx.Err() != nil {
		return err // the caller went away: that is no failure of the provider
	}
	s.attempted, s.failure = time.Now(), err
	if err != nil {
		return err
	}
	s.keys.Store(&keys)
	if s.file == "" {
		return nil
	}
	if err := privatefile.Write(s.file, data); err != nil {
		s.log.WarnContext(ctx, "the identity provider's keys could not be kept on disk", "file", s.file, "error", err)
	}
	return nil
}

func (s *keySet) request(ctx context.Context) ([]byte, map[string]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.issuer+keysPath, nil)
	if err != nil {
		return nil, nil, domain.WrapError(domain.ErrUnavailable, err, "the keys of %s", s.issuer)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, nil, domain.WrapError(domain.ErrUnavailable, err, "the keys of %s cannot be fetched", s.issuer)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet+1))
	if err != nil {
		return nil, nil, domain.WrapError(domain.ErrUnavailable, err, "the keys of %s cannot be fetched", s.issuer)
	}
	if response.StatusCode != http.StatusOK {
		return nil, nil, domain.Errorf(domain.ErrUnavailable, "%s answers %q when asked for its keys: check that the issuer is exactly the provider's own name", s.issuer, response.Status)
	}
	keys, err := decodeKeys(data)
	if err != nil {
		return nil, nil, domain.WrapError(domain.ErrUnavailable, err, "the keys of %s", s.issuer)
	}
	return data, keys, nil
}

// load takes the keys that were kept on disk.
func (s *keySet) load() {
	if s.file == "" {
		return
	}
	data, err := privatefile.Read(s.file, maxKeySet)
	if err == nil && data == nil {
		return
	}
	var keys map[string]jose.JSONWebKey
	if err == nil {
		keys, err = decodeKeys(data)
	}
	if err != nil {
		s.log.Warn("the identity provider's keys on disk cannot be used and will be replaced", "file", s.file, "error", err)
		return
	}
	s.keys.Store(&keys)
}

// decodeKeys reads a JWKS document. Keys that cannot verify are left out; it is an
// error when none is left.
func decodeKeys(data []byte) (map[string]jose.JSONWebKey, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(data) > maxKeySet {
		return nil, domain.Errorf(domain.ErrInvalid, "the key set is larger than %d bytes", maxKeySet)
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "the key set")
	}
	keys := map[string]jose.JSONWebKey{}
	for _, raw := range document.Keys[:min(len(document.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) != nil || key.KeyID == "" || !key.Valid() || !key.IsPublic() || (key.Use != "" && key.Use != "sig") {
			continue
		}
		keys[key.KeyID] = key
	}
	if len(keys) == 0 {
		return nil, domain.Errorf(domain.ErrInvalid, "the key set holds no key that could verify a token")
	}
	return keys, nil
}
