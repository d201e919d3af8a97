package nats_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestStrangersAreRefused(t *testing.T) {
	broker := strings.TrimPrefix(natstest.Start(t, natstest.Options{}).URL(), "nats://")
	require.NoError(t, nats.RefusesStrangers(t.Context(), broker, "", nil))
}

func TestNobodyDecides(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // a broker whose callout is away takes the login and says nothing
		conn, err := listener.Accept()
		if err == nil {
			_, _ = fmt.Fprint(conn, "INFO {}\r\n")
			_, _ = bufio.NewReader(conn).ReadString('\n')
			cancel()
		}
	}()
	err = nats.RefusesStrangers(ctx, listener.Addr().String(), "", nil)
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "nobody decided")
}

func TestWhatElseAnswersStrangers(t *testing.T) {
	for says, want := range map[string]error{
		"INFO {}\r\nPONG\r\n":                                domain.ErrConflict,
		"INFO {}\r\n-ERR 'Authorization Violation'\r\n":      nil,
		"INFO {}\r\n-ERR 'maximum connections'\r\n":          domain.ErrUnavailable,
		"INFO {}\r\nINFO {}\r\n":                             domain.ErrUnavailable,
		"HTTP/1.1 400 Bad Request\r\n":                       domain.ErrUnavailable,
		"INFO {\"tls_required\":true}\r\nno certificate\r\n": domain.ErrUnavailable,
		"": domain.ErrUnavailable,
	} {
		err := nats.RefusesStrangers(t.Context(), answering(t, says), "broker.example", nil)
		if want == nil {
			require.NoError(t, err, says)
		} else {
			require.ErrorIs(t, err, want, says)
		}
	}
	closed := natstest.FreeAddress(t)
	require.ErrorIs(t, nats.RefusesStrangers(t.Context(), closed, "", nil), domain.ErrUnavailable)
}

// answering says one thing to each client and hangs up.
func answering(t *testing.T, text string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(conn, text)
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			buffer := make([]byte, 1024)
			for err == nil { // what the client sent must not reset the connection
				_, err = conn.Read(buffer)
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}
