// Package natstest runs a real broker in the process of a test.
package natstest

import (
	"context"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
	"github.com/nationtech/harmony-fleet/contracts"
)

const patience = 30 * time.Second

// Server is a broker of one test, with the operator and devices as its users.
// It stops with the test.
type Server struct {
	t       testing.TB
	keys    string
	options devserver.Options

	mu     sync.Mutex
	server *devserver.Server
	stop   context.CancelFunc
	ended  chan error
}

// Options tune a Server.
type Options struct {
	// Sync is devserver.Options.Sync.
	Sync bool
	// Bare leaves out the streams.
	Bare bool
}

// Start starts a broker with the fleet's streams on a free port of loopback.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	s := &Server{t: t, keys: t.TempDir()}
	s.options = devserver.Options{
		StoreDir:     t.TempDir(),
		Operator:     s.key("operator"),
		Unrestricted: []string{s.key("anyone")},
		Devices:      map[contracts.DeviceID]string{},
		Sync:         options.Sync,
	}
	s.Start()
	t.Cleanup(s.Stop)
	if !options.Bare {
		conn := s.Operator(t)
		require.NoError(t, nats.Setup(t.Context(), conn, nats.SetupOptions{}))
		conn.Close()
	}
	return s
}

func (s *Server) key(user string) string {
	s.t.Helper()
	public, err := devserver.UserKey(s.seed(user))
	require.NoError(s.t, err)
	return public
}

func (s *Server) seed(user string) string { return filepath.Join(s.keys, user+".nk") }

// URL stays the same when the broker is stopped and started.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.URL()
}

// Stop stops the broker, if it runs. Its store and port are kept.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		return
	}
	s.stop()
	if err := <-s.ended; err != nil {
		s.t.Errorf("stop the broker: %v", err)
	}
	s.stop = nil
}

// Start starts the broker again after Stop.
func (s *Server) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	server, err := devserver.New(s.options)
	require.NoError(s.t, err)
	address, err := url.Parse(server.URL())
	require.NoError(s.t, err)
	s.options.Port, err = strconv.Atoi(address.Port())
	require.NoError(s.t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(s.t.Context()))
	s.server, s.stop, s.ended = server, stop, make(chan error, 1)
	go func() { s.ended <- server.Run(ctx) }() // Stop waits for it
}

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// OperatorCredential is that of the operator.
func (s *Server) OperatorCredential() nats.Credential { return nats.SeedFile(s.seed("operator")) }

// Operator returns a connection with the operator's rights.
func (s *Server) Operator(t testing.TB) *nats.Conn {
	t.Helper()
	return s.OperatorAt(t, s.URL())
}

// OperatorAt is Operator through another address, such as that of a Link.
func (s *Server) OperatorAt(t testing.TB, address string) *nats.Conn {
	t.Helper()
	return s.connect(t, nats.Config{Servers: []string{address}, Name: "operator", Credential: s.OperatorCredential()})
}

// Device returns a connection of a device, which needs not be known before.
func (s *Server) Device(t testing.TB, device contracts.DeviceID) *nats.Conn {
	t.Helper()
	return s.DeviceAt(t, device, s.URL())
}

// DeviceAt is Device through another address, such as that of a Link.
func (s *Server) DeviceAt(t testing.TB, device contracts.DeviceID, address string) *nats.Conn {
	t.Helper()
	s.addDevice(t, device)
	return s.connect(t, nats.Config{
		Servers:     []string{address},
		Name:        "device " + string(device),
		Credential:  nats.SeedFile(s.seed(deviceUser(device))),
		InboxPrefix: contracts.InboxPrefix(device),
	})
}

func deviceUser(device contracts.DeviceID) string { return "device-" + string(device) }

func (s *Server) addDevice(t testing.TB, device contracts.DeviceID) {
	t.Helper()
	public := s.key(deviceUser(device))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.options.Devices[device] == public {
		return
	}
	s.options.Devices[device] = public
	require.NoError(t, s.server.AddDevice(device, public))
}

// connect waits for the first connection. Reconnections are not spread.
func (s *Server) connect(t testing.TB, config nats.Config) *nats.Conn {
	t.Helper()
	config.ReconnectJitter = time.Millisecond
	conn, err := nats.Connect(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, conn.AwaitConnection(ctx))
	return conn
}

// Raw returns a connection of nats.go without restrictions.
func (s *Server) Raw(t testing.TB) *natsgo.Conn {
	t.Helper()
	return s.raw(t, "anyone")
}

// RawDevice returns a connection of nats.go with a device's credential, as a
// hostile device would use it.
func (s *Server) RawDevice(t testing.TB, device contracts.DeviceID, options ...natsgo.Option) *natsgo.Conn {
	t.Helper()
	s.addDevice(t, device)
	return s.raw(t, deviceUser(device), options...)
}

func (s *Server) raw(t testing.TB, user string, options ...natsgo.Option) *natsgo.Conn {
	t.Helper()
	credential, err := natsgo.NkeyOptionFromSeed(s.seed(user))
	require.NoError(t, err)
	options = append([]natsgo.Option{
		credential,
		natsgo.MaxReconnects(-1),
		natsgo.ReconnectWait(10 * time.Millisecond),
		natsgo.ReconnectJitter(time.Millisecond, time.Millisecond),
	}, options...)
	conn, err := natsgo.Connect(s.URL(), options...)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}
