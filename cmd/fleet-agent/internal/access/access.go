// Package access gives an enrolled device the tokens that it connects with.
package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/identity"
	"github.com/nationtech/harmony-fleet/domain"
)

// Access is the source of a device's tokens, also when its identity changes.
// Safe for concurrent use.
type Access struct {
	store *identity.Store
	log   *slog.Logger

	mu      sync.Mutex
	who     identity.Identity
	source  *device.TokenSource
	changed chan struct{}
}

// New returns the access of an identity. It talks to nobody yet.
func New(store *identity.Store, who identity.Identity, log *slog.Logger) (*Access, error) {
	a := &Access{store: store, log: log, changed: make(chan struct{})}
	source, err := a.open(who)
	a.source, a.who = source, who
	return a, err
}

func (a *Access) open(who identity.Identity) (*device.TokenSource, error) {
	key, err := a.store.Key(who)
	if err != nil {
		return nil, err
	}
	return device.NewTokenSource(device.Config{
		Issuer:    who.Credential.Issuer,
		ProjectID: who.Credential.ProjectID,
		UserID:    who.Credential.UserID,
		KeyID:     who.Credential.KeyID,
		Signer:    key,
		CacheFile: a.store.TokenCache(),
	}, device.Options{Client: client(who.Credential.ServerCA), Logger: a.log})
}

// client trusts the system's authorities and the fleet's own.
func client(authority string) *http.Client {
	if authority == "" {
		return nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	roots.AppendCertsFromPEM([]byte(authority))
	return &http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
}

// Use goes on with another identity of the same device.
func (a *Access) Use(who identity.Identity) error {
	source, err := a.open(who)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.source, a.who = source, who
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}

// Who is the identity in use.
func (a *Access) Who() identity.Identity {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.who
}

func (a *Access) current() (*device.TokenSource, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.source, a.changed
}

// Token implements nats.TokenSource.
func (a *Access) Token(ctx context.Context) (domain.Token, error) {
	source, _ := a.current()
	return source.Token(ctx)
}

// Run renews tokens before they expire, until ctx is cancelled.
func (a *Access) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		source, changed := a.current()
		renewing, stop := context.WithCancel(ctx)
		group, _ := errgroup.WithContext(renewing)
		group.Go(func() error { return source.Run(renewing) })
		select {
		case <-ctx.Done():
		case <-changed:
		}
		stop()
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}
