package natstest

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
)

// Serve runs a broker with keys and a callout of somebody else's until the test
// ends, on ports and a store of its own. It returns the addresses, host:port, of
// its clients and of its monitoring page.
func Serve(tb testing.TB, config nats.ServerConfig) (clients, monitor string) {
	tb.Helper()
	config.StoreDir = tb.TempDir()
	var server *devserver.Server
	for range 5 { // a free port can be taken by another in between
		clients, monitor = FreeAddress(tb), FreeAddress(tb)
		address, err := net.ResolveTCPAddr("tcp", clients)
		require.NoError(tb, err)
		config.Port, config.Monitor = address.Port, monitor
		if server, err = devserver.NewWithCallout(config); err == nil {
			break
		}
		tb.Log(err)
	}
	require.NotNil(tb, server)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("stop the broker: %v", err)
		}
	})
	return clients, monitor
}

// FreeAddress is one of this machine, host:port, on which nothing listens.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer listener.Close()
	return listener.Addr().String()
}
