package zitadel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	smokeTimeout = 2 * time.Minute
	// APIPort is where a server answers, without TLS.
	APIPort       = 8080
	answerTimeout = 10 * time.Second
	maxAnswer     = 256 << 10
)

// Smoke implements deploy.Score: a server that is ready answers as the issuer
// that clients will ask for, and publishes the keys of its tokens.
func (s *FleetZitadelScore) Smoke(ctx context.Context, topology Cluster, progress deploy.Progress) error {
	err := deploy.Until(ctx, smokeTimeout, progress, func(ctx context.Context) error { return s.ask(ctx, topology) })
	return deploy.WithNext(err, "read what it says: kubectl logs -n %s deployment/%s", s.namespace(), s.Service())
}

func (s *FleetZitadelScore) ask(ctx context.Context, topology Cluster) error {
	pods, err := topology.Pods(ctx, s.namespace(), s.Service())
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return domain.Errorf(domain.ErrUnavailable, "no server is ready")
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	address, closer, err := topology.Forward(ctx, s.namespace(), pods[0], APIPort)
	if err != nil {
		return err
	}
	return errors.Join(s.discover(ctx, address), closer.Close())
}

// discovery is what the Score reads of OpenID's discovery.
type discovery struct {
	Issuer string `json:"issuer"`
	Keys   string `json:"jwks_uri"`
}

func (s *FleetZitadelScore) discover(ctx context.Context, address string) error {
	data, err := s.get(ctx, "http://"+address+"/.well-known/openid-configuration")
	if err != nil {
		return err
	}
	found, err := parseDiscovery(data)
	if err != nil {
		return err
	}
	if found.Issuer != s.Issuer() {
		return deploy.WithNext(domain.Errorf(domain.ErrConflict, "it calls itself %q, and clients will ask for %q", found.Issuer, s.Issuer()),
			"an instance keeps the domain and port that it was made with: correct the score, or begin with an empty database")
	}
	keys, err := s.get(ctx, "http://"+address+"/oauth/v2/keys")
	if err != nil {
		return err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(keys, &set); err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "read the keys of its tokens")
	}
	return nil
}

// get asks as a client does who came through the ingress.
func (s *FleetZitadelScore) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	scheme, _ := s.scheme()
	request.Host = s.host()
	request.Header.Set("X-Forwarded-Proto", scheme)
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, domain.WrapError(domain.ErrUnavailable, err, "ask it")
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, domain.WrapError(domain.ErrUnavailable, err, "ask it")
	}
	switch {
	case response.StatusCode == http.StatusNotFound:
		return nil, deploy.WithNext(domain.Errorf(domain.ErrConflict, "it has no instance for the domain %s", s.host()),
			"an instance keeps the domain that it was made with: correct the score, or begin with an empty database")
	case response.StatusCode != http.StatusOK:
		return nil, domain.Errorf(domain.ErrUnavailable, "it answers %s", response.Status)
	}
	return data, nil
}

func parseDiscovery(data []byte) (discovery, error) {
	var found discovery
	if err := json.Unmarshal(data, &found); err != nil {
		return found, domain.WrapError(domain.ErrUnavailable, err, "what answers is no identity provider")
	}
	if found.Issuer == "" || found.Keys == "" {
		return found, domain.Errorf(domain.ErrUnavailable, "what answers is no identity provider")
	}
	return found, nil
}
