package natstest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Link is a network link to the broker that can be cut.
type Link struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// NewLink returns a link to the broker, which ends with the test.
func (s *Server) NewLink(tb testing.TB) *Link {
	tb.Helper()
	target, err := url.Parse(s.URL())
	require.NoError(tb, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	l := &Link{listener: listener, target: target.Host, conns: map[net.Conn]bool{}}
	l.work.Go(l.accept)
	tb.Cleanup(func() {
		_ = listener.Close()
		l.SetConnected(false)
		l.work.Wait()
	})
	return l
}

// URL is what a client behind the link connects to.
func (l *Link) URL() string { return "nats://" + l.listener.Addr().String() }

// SetConnected cuts the link, and every connection over it, or restores it.
func (l *Link) SetConnected(connected bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = !connected
	if l.cut {
		for conn := range l.conns {
			_ = conn.Close()
		}
	}
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !l.add(client, server) {
			continue
		}
		l.work.Go(func() { l.copy(client, server) })
		l.work.Go(func() { l.copy(server, client) })
	}
}

func (l *Link) add(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range conns {
		if l.cut {
			_ = conn.Close()
			continue
		}
		l.conns[conn] = true
	}
	return !l.cut
}

// copy ends both directions with either.
func (l *Link) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, from)
}
