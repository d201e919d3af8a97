// Package devserver is a broker within a process, for a fleet on one machine.
package devserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	startTimeout = 30 * time.Second
	// handshakeTimeout is what real brokers of a fleet are set to, too.
	handshakeTimeout = 60 * time.Second
)

// Options say how to run the broker.
type Options struct {
	// StoreDir is where it keeps what is stored; needed.
	StoreDir string
	// Host is the address to listen on; empty is 127.0.0.1.
	Host string
	// Port is the port to listen on; zero is a free one.
	Port int
	// Operator is the public nkey of the operator and the tools.
	Operator string
	// Devices are the public nkeys of the devices. AddDevice adds others.
	Devices map[contracts.DeviceID]string
	// Unrestricted are public nkeys that may do anything.
	Unrestricted []string
	// Sync makes the store durable across a power cut: what is acknowledged is
	// on the disk.
	Sync bool
}

// Server is a running broker.
type Server struct {
	server *server.Server

	mu      sync.Mutex
	options Options
}

// New starts a broker and returns once it takes connections. Run must be called
// to end it.
func New(options Options) (*Server, error) {
	if options.Host == "" {
		options.Host = "127.0.0.1"
	}
	options.Devices = maps.Clone(options.Devices)
	if options.Devices == nil {
		options.Devices = map[contracts.DeviceID]string{}
	}
	if options.StoreDir == "" {
		return nil, fmt.Errorf("broker: name the directory of its store")
	}
	ns, err := server.NewServer(serverOptions(options))
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	go ns.Start() // Run waits for its end
	if !ns.ReadyForConnections(startTimeout) {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fmt.Errorf("broker did not start on %s:%d: is the port in use, and is %s writable?", options.Host, options.Port, options.StoreDir)
	}
	return &Server{server: ns, options: options}, nil
}

// URL is what clients connect to.
func (s *Server) URL() string { return s.server.ClientURL() }

// Run blocks until ctx is cancelled, stops the broker and returns nil; or an
// error when the broker ended by itself.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.server.WaitForShutdown()
	}()
	select {
	case <-ctx.Done():
		s.server.Shutdown()
		<-ended
		return nil
	case <-ended:
		return fmt.Errorf("broker at %s ended by itself", s.URL())
	}
}

// AddDevice lets a device connect with the public nkey, in place of any other
// it had. Connections of others go on.
func (s *Server) AddDevice(device contracts.DeviceID, publicKey string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.options
	next.Devices = maps.Clone(next.Devices)
	next.Devices[device] = publicKey
	return s.reload(next)
}

func (s *Server) reload(next Options) error {
	if err := s.server.ReloadOptions(serverOptions(next)); err != nil {
		return fmt.Errorf("broker: change who may connect: %w", err)
	}
	s.options = next
	return nil
}

func serverOptions(o Options) *server.Options {
	port := o.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return &server.Options{
		ServerName: "fleet-dev",
		Host:       o.Host,
		Port:       port,
		JetStream:  true,
		StoreDir:   o.StoreDir,
		SyncAlways: o.Sync,
		Nkeys:      users(o),
		// A client that is answered late, because thousands reconnect, must not be
		// pinged before: it would give up and dial again.
		AuthTimeout:           handshakeTimeout.Seconds(),
		DisableShortFirstPing: true,
		NoSigs:                true,
		NoLog:                 true,
	}
}

func users(o Options) []*server.NkeyUser {
	all := make([]*server.NkeyUser, 0, len(o.Devices)+len(o.Unrestricted)+1)
	if o.Operator != "" {
		all = append(all, &server.NkeyUser{Nkey: o.Operator, Permissions: permissions(nats.OperatorPermissions())})
	}
	for _, key := range o.Unrestricted {
		all = append(all, &server.NkeyUser{Nkey: key})
	}
	for _, device := range slices.Sorted(maps.Keys(o.Devices)) {
		all = append(all, &server.NkeyUser{Nkey: o.Devices[device], Permissions: permissions(nats.DevicePermissions(device))})
	}
	return all
}

// permissions gives plain permissions the server's form, in which an empty
// list allows everything.
func permissions(p nats.Permissions) *server.Permissions {
	subjects := func(allow, deny []string) *server.SubjectPermission {
		if len(allow) == 0 {
			return &server.SubjectPermission{Deny: []string{">"}}
		}
		return &server.SubjectPermission{Allow: allow, Deny: deny}
	}
	converted := &server.Permissions{
		Publish:   subjects(p.PublishAllow, p.PublishDeny),
		Subscribe: subjects(p.SubscribeAllow, nil),
	}
	if p.Responses > 0 {
		converted.Response = &server.ResponsePermission{MaxMsgs: p.Responses, Expires: p.ResponseTime}
	}
	return converted
}
