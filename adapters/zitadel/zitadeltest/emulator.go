package zitadeltest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// defaultLifetime is how long Zitadel's tokens live by default.
const defaultLifetime = 43199 * time.Second

// Options of an Emulator. The zero value works.
type Options struct {
	// Listen is the address to listen on; empty is a free port of 127.0.0.1.
	Listen string
	// Issuer is the URL that it calls itself, and by which alone it is found; empty
	// is its address. It is for those who come through a proxy or a forward.
	Issuer string
	// Dir keeps the state; empty keeps it in memory.
	Dir string
	// TokenLifetime is that of access tokens; zero is Zitadel's default.
	TokenLifetime time.Duration
	// Lag is how long what was just made or removed is not seen by the token
	// endpoint and by lists. A loaded server takes up to 40 ms.
	Lag time.Duration
}

// Emulator is a running emulator. Safe for concurrent use.
type Emulator struct {
	issuer  string
	address string
	dir     string

	mu       sync.Mutex
	state    *state
	lifetime time.Duration
	lag      time.Duration

	serving sync.Mutex
	http    *http.Server
	grpc    *grpc.Server
	served  chan struct{}
}

// Start returns an emulator that listens. The caller must Close it.
func Start(options Options) (*Emulator, error) {
	e := &Emulator{dir: options.Dir, lifetime: options.TokenLifetime, lag: options.Lag}
	if e.lifetime == 0 {
		e.lifetime = defaultLifetime
	}
	listen := options.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	e.address = listener.Addr().String()
	e.issuer = "http://" + e.address
	if host, _, err := net.SplitHostPort(listen); err == nil && host == "localhost" {
		_, port, _ := strings.Cut(e.address, ":")
		e.issuer = "http://localhost:" + port
	}
	if options.Issuer != "" {
		e.issuer = options.Issuer
	}
	if e.state, err = loadState(e.dir); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	e.serve(listener)
	return e, nil
}

// Address returns the host and port that it listens on.
func (e *Emulator) Address() string { return e.address }

// named reports whether a request asks for this instance, by host and port.
func (e *Emulator) named(host string) bool {
	_, name, _ := strings.Cut(e.issuer, "://")
	return host == name
}

// Issuer returns the emulator's URL. By another host name it is not found.
func (e *Emulator) Issuer() string { return e.issuer }

// AdminToken returns the personal access token of an administrator of the instance.
func (e *Emulator) AdminToken() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.AdminToken
}

// OrganizationID returns that of the default organization.
func (e *Emulator) OrganizationID() string { return organizationID }

// SetTokenLifetime changes that of the tokens to come.
func (e *Emulator) SetTokenLifetime(lifetime time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lifetime = lifetime
}

func (e *Emulator) serve(listener net.Listener) {
	e.serving.Lock()
	defer e.serving.Unlock()
	e.grpc = e.newGRPC()
	api := e.grpc
	web := e.newHTTP()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	e.http = &http.Server{
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
				api.ServeHTTP(w, r)
				return
			}
			web.ServeHTTP(w, r)
		}),
	}
	served := make(chan struct{})
	e.served = served
	server := e.http
	go func() {
		defer close(served)
		_ = server.Serve(listener) // it ends by Stop alone
	}()
}

// Stop closes the port and all connections; the state stays.
func (e *Emulator) Stop() {
	e.serving.Lock()
	defer e.serving.Unlock()
	if e.http == nil {
		return
	}
	_ = e.http.Close() // it is going away
	<-e.served
	e.grpc.Stop()
	e.http = nil
}

// Restart listens again, on the same port, with the state as it was kept.
func (e *Emulator) Restart(ctx context.Context) error {
	e.Stop()
	if e.dir != "" {
		loaded, err := loadState(e.dir)
		if err != nil {
			return err
		}
		e.mu.Lock()
		e.state = loaded
		e.mu.Unlock()
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", e.address)
	if err != nil {
		return err
	}
	e.serve(listener)
	return nil
}

// Close stops the emulator.
func (e *Emulator) Close() { e.Stop() }
