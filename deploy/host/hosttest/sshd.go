package hosttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/nationtech/harmony-fleet/deploy/host"
)

// sshd is where Debian and others have it.
const sshd = "/usr/sbin/sshd"

// Server is OpenSSH's server, which lets its own key in as root. What is done
// over it is done to this machine, so tests stay below t.TempDir.
type Server struct {
	Address string
	KeyFile string
	// HostKey is the fingerprint of its key, and KnownHosts a file with it.
	HostKey    string
	KnownHosts string
	// OtherHostKey is the fingerprint of its key of another kind.
	OtherHostKey string

	config string
	mu     sync.Mutex
	conns  map[net.Conn]bool
	budget int64
	dials  int
}

// Start starts a server, or skips the test where there can be none.
func Start(t *testing.T) *Server {
	t.Helper()
	need(t)
	dir := t.TempDir()
	s := &Server{conns: map[net.Conn]bool{}, budget: -1}
	hostKeyFile, hostKey := makeKey(t, dir, "host")
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	otherFile, otherKey := writeKey(t, dir, "other", elliptic)
	keyFile, key := makeKey(t, dir, "login")
	s.KeyFile, s.HostKey, s.OtherHostKey = keyFile, ssh.FingerprintSHA256(hostKey), ssh.FingerprintSHA256(otherKey)
	authorized := filepath.Join(dir, "authorized")
	require.NoError(t, os.WriteFile(authorized, ssh.MarshalAuthorizedKey(key), 0o600))
	s.config = filepath.Join(dir, "sshd_config")
	require.NoError(t, os.WriteFile(s.config, fmt.Appendf(nil,
		"HostKey %s\nHostKey %s\nAuthorizedKeysFile %s\nPasswordAuthentication no\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n",
		hostKeyFile, otherFile, authorized), 0o600))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.Address = listener.Addr().String()
	s.KnownHosts = filepath.Join(dir, "known_hosts")
	line := fmt.Sprintf("[127.0.0.1]:%d %s", listener.Addr().(*net.TCPAddr).Port, ssh.MarshalAuthorizedKey(hostKey))
	require.NoError(t, os.WriteFile(s.KnownHosts, []byte(line), 0o600))
	var group sync.WaitGroup
	group.Go(func() { s.accept(listener, &group) })
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		s.Cut()
		group.Wait()
	})
	return s
}

// NeedRoot skips the test where scripts cannot be run as root.
func NeedRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "needs root, as the scripts that it runs do")
	}
}

func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func need(t *testing.T) {
	t.Helper()
	NeedRoot(t)
	if _, err := os.Stat(sshd); err != nil {
		lacking(t, "needs "+sshd+": apt-get install openssh-server")
	}
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
}

// Config reaches the server, whose key it pins.
func (s *Server) Config() host.Config {
	return host.Config{Address: s.Address, KeyFile: s.KeyFile, HostKey: s.HostKey}
}

// Host is the server's host, closed with the test.
func (s *Server) Host(t *testing.T) *host.SSH {
	t.Helper()
	h, err := host.New(s.Config())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// Cut breaks all connections.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// CutAfter breaks the connection that gets the next that many bytes of clients;
// those after it live.
func (s *Server) CutAfter(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget = bytes
}

// Dials returns how many connections were made.
func (s *Server) Dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials
}

func (s *Server) accept(listener net.Listener, group *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.dials++
		s.mu.Unlock()
		group.Go(func() { s.serve(conn) })
	}
}

// serve runs one sshd for one connection, as inetd does.
func (s *Server) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
	}()
	command := exec.Command(sshd, "-i", "-f", s.config)
	in, err := command.StdinPipe()
	if err != nil {
		return
	}
	command.Stdout = conn
	if command.Start() != nil {
		return
	}
	_, _ = io.Copy(in, &counted{conn: conn, server: s})
	_ = conn.Close()
	_ = in.Close()
	_ = command.Wait()
}

// counted reads what the client sends until the budget is used up.
type counted struct {
	conn   net.Conn
	server *Server
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if c.server.budget >= 0 {
		c.server.budget -= int64(n)
		if c.server.budget < 0 {
			return 0, io.ErrUnexpectedEOF
		}
	}
	return n, err
}

func makeKey(t *testing.T, dir, name string) (string, ssh.PublicKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return writeKey(t, dir, name, private)
}

func writeKey(t *testing.T, dir, name string, private crypto.Signer) (string, ssh.PublicKey) {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(private, name)
	require.NoError(t, err)
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	key, err := ssh.NewPublicKey(private.Public())
	require.NoError(t, err)
	return path, key
}
