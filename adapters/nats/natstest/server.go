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
	tb      testing.TB
	keys    string
	plain   devserver.Options
	options Options
	// Callout is set with Options.Callout.
	Callout *Callout

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
	// Callout admits devices by tokens, through an auth callout, instead of nkeys
	// that the broker knows.
	Callout bool
	// CalloutOptions are those of the callout.
	CalloutOptions nats.CalloutOptions
	// PlainCallout leaves the encryption of the callout's exchange out.
	PlainCallout bool
	// TLS serves clients with TLS; callout only.
	TLS *nats.ServerTLS
	// CAFile is what clients trust then.
	CAFile string
}

// Start starts a broker with the fleet's streams on a free port of loopback.
func Start(tb testing.TB, options Options) *Server {
	tb.Helper()
	s := &Server{tb: tb, keys: tb.TempDir(), options: options}
	if options.Callout {
		s.Callout = newCallout(s, options)
	} else {
		s.plain = devserver.Options{
			StoreDir:     tb.TempDir(),
			Operator:     s.key("operator"),
			Unrestricted: []string{s.key("anyone")},
			Devices:      map[contracts.DeviceID]string{},
			Sync:         options.Sync,
		}
	}
	s.Start()
	tb.Cleanup(s.Stop)
	if !options.Bare {
		conn := s.Operator(tb)
		require.NoError(tb, nats.Setup(tb.Context(), conn, nats.SetupOptions{}))
		conn.Close()
	}
	if options.Callout && !options.Bare {
		s.Callout.running, _ = s.Callout.Run(tb, s.Callout.Identity, options.CalloutOptions)
	}
	return s
}

func (s *Server) key(user string) string {
	s.tb.Helper()
	public, err := devserver.UserKey(s.seed(user))
	require.NoError(s.tb, err)
	return public
}

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
		s.tb.Errorf("stop the broker: %v", err)
	}
	s.stop = nil
}

// Start starts the broker again after Stop.
func (s *Server) Start() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	server, err := s.newServer()
	require.NoError(s.tb, err)
	address, err := url.Parse(server.URL())
	require.NoError(s.tb, err)
	port, err := strconv.Atoi(address.Port())
	require.NoError(s.tb, err)
	s.plain.Port = port
	if s.Callout != nil {
		s.Callout.Config.Port = port
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(s.tb.Context()))
	s.server, s.stop, s.ended = server, stop, make(chan error, 1)
	go func() { s.ended <- server.Run(ctx) }() // Stop waits for it
}

func (s *Server) newServer() (*devserver.Server, error) {
	if s.Callout != nil {
		return devserver.NewWithCallout(s.Callout.Config)
	}
	return devserver.New(s.plain)
}

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.Start()
}

// OperatorSeedFile is the file of the operator's nkey, for programs.
func (s *Server) OperatorSeedFile() string { return s.seed("operator") }

// OperatorCredential is that of the operator.
func (s *Server) OperatorCredential() nats.Credential { return nats.SeedFile(s.seed("operator")) }

// Operator returns a connection with the operator's rights.
func (s *Server) Operator(tb testing.TB) *nats.Conn {
	tb.Helper()
	return s.OperatorAt(tb, s.URL())
}

// OperatorAt is Operator through another address, such as that of a Link.
func (s *Server) OperatorAt(tb testing.TB, address string) *nats.Conn {
	tb.Helper()
	return s.connect(tb, nats.Config{Servers: []string{address}, Name: "operator", Credential: s.OperatorCredential()})
}

// Device returns a connection of a device, which needs not be known before.
func (s *Server) Device(tb testing.TB, device contracts.DeviceID) *nats.Conn {
	tb.Helper()
	return s.DeviceAt(tb, device, s.URL())
}

// DeviceAt is Device through another address, such as that of a Link.
func (s *Server) DeviceAt(tb testing.TB, device contracts.DeviceID, address string) *nats.Conn {
	tb.Helper()
	s.addDevice(device)
	credential := nats.SeedFile(s.seed(deviceUser(device)))
	if s.Callout != nil {
		credential = nats.TokenCredential(&tokens{callout: s.Callout, device: device})
	}
	return s.connect(tb, nats.Config{
		Servers:     []string{address},
		Name:        "device " + string(device),
		Credential:  credential,
		InboxPrefix: contracts.InboxPrefix(device),
	})
}

func deviceUser(device contracts.DeviceID) string { return "device-" + string(device) }

func (s *Server) addDevice(device contracts.DeviceID) {
	s.tb.Helper()
	if s.Callout != nil {
		s.Callout.register(device)
		return
	}
	public := s.key(deviceUser(device))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plain.Devices[device] = public
	s.server.AddDevice(device, public)
}

// connect waits for the first connection. Reconnections are not spread.
func (s *Server) connect(tb testing.TB, config nats.Config) *nats.Conn {
	tb.Helper()
	config.ReconnectJitter = time.Millisecond
	config.CAFile = s.options.CAFile
	conn, err := nats.Connect(tb.Context(), config)
	require.NoError(tb, err)
	tb.Cleanup(conn.Close)
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	require.NoError(tb, conn.AwaitConnection(ctx))
	return conn
}

// Raw returns a connection of nats.go without restrictions; with a callout it
// has the operator's.
func (s *Server) Raw(tb testing.TB) *natsgo.Conn {
	tb.Helper()
	if s.Callout != nil {
		return s.raw(tb, "operator")
	}
	return s.raw(tb, "anyone")
}

// RawDevice returns a connection of nats.go with a device's credential, as a
// hostile device would use it.
func (s *Server) RawDevice(tb testing.TB, device contracts.DeviceID, options ...natsgo.Option) *natsgo.Conn {
	tb.Helper()
	s.addDevice(device)
	if s.Callout != nil {
		conn, err := s.Callout.RawToken(tb, s.Callout.Token(device).Value, append(rawOptions(), options...)...)
		require.NoError(tb, err)
		return conn
	}
	return s.raw(tb, deviceUser(device), options...)
}

func (s *Server) raw(tb testing.TB, user string, options ...natsgo.Option) *natsgo.Conn {
	tb.Helper()
	credential, err := natsgo.NkeyOptionFromSeed(s.seed(user))
	require.NoError(tb, err)
	options = append(append(rawOptions(), credential), options...)
	conn, err := natsgo.Connect(s.URL(), options...)
	require.NoError(tb, err)
	tb.Cleanup(conn.Close)
	return conn
}

func rawOptions() []natsgo.Option {
	return []natsgo.Option{
		natsgo.MaxReconnects(-1),
		natsgo.ReconnectWait(10 * time.Millisecond),
		natsgo.ReconnectJitter(time.Millisecond, time.Millisecond),
	}
}

func (s *Server) seed(user string) string { return filepath.Join(s.keys, user+".nk") }
