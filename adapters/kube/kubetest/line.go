package kubetest

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Line is a connection to the API server that can be cut.
type Line struct {
	// Kubeconfig is a file with an administrator's access through the line.
	Kubeconfig string

	target string

	mu       sync.Mutex
	address  string
	listener net.Listener
	conns    []net.Conn
}

// Line returns a line that works until it is cut, or the test ends.
func (e *Environment) Line(tb testing.TB) *Line {
	tb.Helper()
	server, err := url.Parse(e.config.Host)
	if err != nil {
		tb.Fatal(err)
	}
	l := &Line{target: server.Host, address: "127.0.0.1:0"}
	l.Mend(tb)
	tb.Cleanup(l.Cut)
	access := e.Config()
	access.Host = "https://" + l.address
	l.Kubeconfig = WriteKubeconfig(tb, access)
	return l
}

// WriteKubeconfig writes access by a client certificate into a file.
func WriteKubeconfig(tb testing.TB, access *rest.Config) string {
	tb.Helper()
	file := api.NewConfig()
	file.Clusters["c"] = &api.Cluster{Server: access.Host, CertificateAuthorityData: access.CAData}
	file.AuthInfos["u"] = &api.AuthInfo{ClientCertificateData: access.CertData, ClientKeyData: access.KeyData}
	file.Contexts["x"] = &api.Context{Cluster: "c", AuthInfo: "u"}
	file.CurrentContext = "x"
	data, err := clientcmd.Write(*file)
	path := filepath.Join(tb.TempDir(), "kubeconfig")
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		tb.Fatalf("write a kubeconfig: %v", err)
	}
	return path
}

// Mend lets the line work again, at the same address.
func (l *Line) Mend(tb testing.TB) {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		tb.Fatal(err)
	}
	l.listener, l.address = listener, listener.Addr().String()
	go l.accept(listener)
}

func (l *Line) accept(listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		if l.listener != listener { // it was cut in between
			_, _ = near.Close(), far.Close()
		}
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
	}
}

// Cut ends all connections, and takes no more.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		_ = l.listener.Close()
		l.listener = nil
	}
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}
