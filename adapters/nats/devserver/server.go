// Package devserver is a broker within a process, for a fleet on one machine.
package devserver

import (
	"context"
	"fmt"
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
	users  *users
}

// New starts a broker and returns once it takes connections. Run must be called
// to end it.
func New(options Options) (*Server, error) {
	if options.Host == "" {
		options.Host = "127.0.0.1"
	}
	if options.StoreDir == "" {
		return nil, fmt.Errorf("broker: name the directory of its store")
	}
	users := newUsers(options)
	return start(serverOptions(options, users), users)
}

// NewWithCallout starts a broker that admits clients through an auth callout,
// from the very text that a broker of its own would read, and returns once it
// takes connections. A negative port takes a free one. Run must be called to
// end it.
func NewWithCallout(config nats.ServerConfig) (*Server, error) {
	text, err := config.Conf()
	if err != nil {
		return nil, err
	}
	options := &server.Options{}
	if err := options.ProcessConfigString(text); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	embed(options)
	return start(options, nil)
}

func start(options *server.Options, users *users) (*Server, error) {
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	go ns.Start() // Run waits for its end
	if !ns.ReadyForConnections(startTimeout) {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fmt.Errorf("broker did not start on %s:%d: is the port in use, and is %s writable?", options.Host, options.Port, options.StoreDir)
	}
	return &Server{server: ns, users: users}, nil
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
// it had. It disturbs no connection. It is for a broker without a callout.
func (s *Server) AddDevice(device contracts.DeviceID, publicKey string) {
	s.users.setDevice(device, publicKey)
}

func serverOptions(o Options, users *users) *server.Options {
	port := o.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	options := &server.Options{
		ServerName:                 "fleet-dev",
		Host:                       o.Host,
		Port:                       port,
		JetStream:                  true,
		StoreDir:                   o.StoreDir,
		SyncAlways:                 o.Sync,
		CustomClientAuthentication: users,
		AlwaysEnableNonce:          true,
		AuthTimeout:                handshakeTimeout.Seconds(),
	}
	embed(options)
	return options
}

// embed sets what only a broker within a process can be set to.
func embed(options *server.Options) {
	// A client that is answered late, because thousands reconnect, must not be
	// pinged before: it would give up and dial again.
	options.DisableShortFirstPing = true
	options.NoSigs = true
	options.NoLog = true
}
