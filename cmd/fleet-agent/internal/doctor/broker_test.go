package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/doctor"
)

// natsServer greets as a NATS server does, and then makes TLS when it has a
// certificate. It returns its URL, with a password.
func natsServer(t *testing.T, info string, certificate *tls.Certificate) string {
	t.Helper()
	return "nats://u:SECRET@" + listen(t, func(conn net.Conn) {
		_, _ = fmt.Fprintf(conn, "INFO %s\r\n", info)
		if certificate != nil {
			conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12})
		}
		_, _ = io.Copy(io.Discard, conn)
	})
}

// listen serves each connection and returns the address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// certificate is signed by itself, for 127.0.0.1 unless host says otherwise.
func certificate(t *testing.T, host string, expires time.Time) (*tls.Certificate, []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: expires, IsCA: true, BasicConstraintsValid: true,
	}
	if address := net.ParseIP(host); address != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{address}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func brokerLine(t *testing.T, url string, authority []byte, level doctor.Level, found string) {
	t.Helper()
	h := newHost(t)
	h.servers = fmt.Sprintf("[%q]", url)
	h.options.Timeout = 300 * time.Millisecond
	if authority != nil {
		path := filepath.Join(h.dir, "ca.pem")
		require.NoError(t, os.WriteFile(path, authority, 0o600))
		h.broker += fmt.Sprintf("\nca_file = %q", path)
	}
	for _, check := range h.examine(t) {
		if len(check.Name) > 7 && check.Name[:6] == "broker" {
			requireLine(t, []doctor.Check{check}, level, check.Name, found)
			return
		}
	}
	require.Fail(t, "no line about the broker")
}

func TestBroker(t *testing.T) {
	t.Parallel()
	const tlsRequired = `{"tls_required":true}`
	good, authority := certificate(t, "127.0.0.1", time.Now().Add(time.Hour))
	old, oldAuthority := certificate(t, "127.0.0.1", time.Now().Add(-time.Hour))
	other, otherAuthority := certificate(t, "broker.example", time.Now().Add(time.Hour))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	for name, c := range map[string]struct {
		url       string
		authority []byte
		level     doctor.Level
		found     string
	}{
		"TLS":                 {natsServer(t, tlsRequired, good), authority, doctor.OK, "TLS 1.3, certificate valid until"},
		"other authority":     {natsServer(t, tlsRequired, good), otherAuthority, doctor.Fail, "unknown authority"},
		"system's authority":  {natsServer(t, tlsRequired, good), nil, doctor.Fail, "TLS: "},
		"expired":             {natsServer(t, tlsRequired, old), oldAuthority, doctor.Fail, "expired"},
		"for another name":    {natsServer(t, tlsRequired, other), otherAuthority, doctor.Fail, "127.0.0.1"},
		"TLS is not offered":  {natsServer(t, `{}`, nil), authority, doctor.Fail, "without TLS"},
		"not a NATS server":   {"nats://" + listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 mail\r\n") }), nil, doctor.Fail, "not as a NATS server"},
		"silent":              {"nats://" + listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), nil, doctor.Fail, "timeout"},
		"closed":              {"nats://" + closed.Addr().String(), nil, doctor.Fail, "connection refused"},
		"not a URL":           {"nats://u:SECRET@[::", nil, doctor.Fail, "not a URL"},
		"broken authority":    {"nats://127.0.0.1:1", []byte("SECRET"), doctor.Fail, "no certificate in PEM"},
		"web socket, no TLS":  {"ws://" + listen(t, func(net.Conn) {}), nil, doctor.OK, "without TLS"},
		"web socket with TLS": {"wss://" + listen(t, func(net.Conn) {}), nil, doctor.Fail, "TLS: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			brokerLine(t, c.url, c.authority, c.level, c.found)
		})
	}
}

// The name ends in .invalid, which never resolves, with or without a network.
func TestNameIsUnknown(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.servers = `["nats://broker.invalid:4222"]`
	requireLine(t, h.examine(t), doctor.Fail, "DNS broker.invalid", "lookup")
}
