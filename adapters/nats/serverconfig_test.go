package nats_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/domain"
)

func validConfig(t *testing.T) nats.ServerConfig {
	t.Helper()
	dir := t.TempDir()
	key := func(name string, kind nats.KeyKind) string {
		public, err := nats.EnsureKey(filepath.Join(dir, name), kind)
		require.NoError(t, err)
		return public
	}
	return nats.ServerConfig{
		StoreDir: dir, Issuer: key("issuer", nats.IssuerKey), Exchange: key("exchange", nats.ExchangeKey),
		CalloutUser: key("callout", nats.UserKey), SystemUser: key("system", nats.UserKey), Operators: []string{key("operator", nats.UserKey)},
	}
}

func TestServerConfigRefuses(t *testing.T) {
	t.Parallel()
	require.NoError(t, validConfig(t).Validate())
	tests := map[string]func(*nats.ServerConfig){
		"directory of its store":   func(c *nats.ServerConfig) { c.StoreDir = "" },
		"issuer":                   func(c *nats.ServerConfig) { c.Issuer = c.CalloutUser },
		"exchange key":             func(c *nats.ServerConfig) { c.Exchange = c.Issuer },
		"operator's public nkey":   func(c *nats.ServerConfig) { c.Operators = nil },
		"of one user alone":        func(c *nats.ServerConfig) { c.SystemUser = c.CalloutUser },
		"certificate file":         func(c *nats.ServerConfig) { c.TLS = &nats.ServerTLS{KeyFile: "key.pem"} },
		"monitoring address":       func(c *nats.ServerConfig) { c.Monitor = "8222" },
		`account name "FLEET }"`:   func(c *nats.ServerConfig) { c.Accounts.Fleet = "FLEET }" },
		`account name "SYS" must`:  func(c *nats.ServerConfig) { c.Accounts.Auth = "SYS" },
		`account name "1" must be`: func(c *nats.ServerConfig) { c.Accounts.View = "1" },
	}
	for text, spoil := range tests {
		config := validConfig(t)
		spoil(&config)
		_, err := config.Conf()
		require.ErrorIs(t, err, domain.ErrInvalid)
		require.ErrorContains(t, err, text)
	}
}

// Whatever stands in a path reaches the broker as it is.
func TestServerConfigText(t *testing.T) {
	t.Parallel()
	config := validConfig(t)
	config.Name, config.Monitor = "node-1", "127.0.0.1:8222"
	config.StoreDir, config.SyncAlways = `/tmp/a "b" $c #d \e {`, true
	config.MaxPayload, config.MaxConnections = 4096, 77
	text, err := config.Conf()
	require.NoError(t, err)
	options := &server.Options{}
	require.NoError(t, options.ProcessConfigString(text))
	require.Equal(t, config.StoreDir, options.StoreDir)
	require.True(t, options.SyncAlways)
	require.Equal(t, "node-1", options.ServerName)
	require.Equal(t, "127.0.0.1", options.Host)
	require.Equal(t, 4222, options.Port)
	require.Equal(t, 8222, options.HTTPPort)
	require.EqualValues(t, 4096, options.MaxPayload)
	require.Equal(t, 77, options.MaxConn)
	require.InDelta(t, 60, options.AuthTimeout, 0)
	require.Equal(t, "SYS", options.SystemAccount)
	require.Equal(t, config.Exchange, options.AuthCallout.XKey)
	require.Len(t, options.AuthCallout.AuthUsers, 3)

	part, err := config.AuthConf()
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(text, part))
}

func TestServerConfigTLS(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t)
	server := natstest.Start(t, natstest.Options{
		Callout: true, TLS: &nats.ServerTLS{CertFile: cert, KeyFile: key, HandshakesPerSecond: 1000}, CAFile: cert,
	})
	server.Device(t, "pi-1")
	_, err := natsgo.Connect(server.URL(), natsgo.Token(server.Callout.Token("pi-1").Value))
	require.Error(t, err, "who does not know the authority does not show its token")
}

// selfSigned returns the PEM files of a certificate for loopback and of its
// key.
func selfSigned(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600))
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private)
}

func TestEnsureKey(t *testing.T) {
	t.Parallel()
	for _, kind := range []nats.KeyKind{nats.UserKey, nats.IssuerKey, nats.ExchangeKey} {
		path := filepath.Join(t.TempDir(), "keys", "k.nk")
		first, err := nats.EnsureKey(path, kind)
		require.NoError(t, err)
		second, err := nats.EnsureKey(path, kind)
		require.NoError(t, err)
		require.Equal(t, first, second)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm())
		_, err = nats.EnsureKey(path, nats.KeyKind(1+int(kind)%3))
		require.ErrorIs(t, err, domain.ErrInvalid, "another kind of key")
	}
	_, err := nats.LoadCalloutKeys(filepath.Join(t.TempDir(), "none"), "")
	require.ErrorIs(t, err, domain.ErrInvalid)
}

func TestSeedsOfEachKind(t *testing.T) {
	for _, kind := range []nats.KeyKind{nats.UserKey, nats.IssuerKey, nats.ExchangeKey} {
		seed, err := nats.NewSeed(kind)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "key.nk")
		require.NoError(t, os.WriteFile(path, seed, 0o600))
		public, err := nats.PublicKey(seed, kind)
		require.NoError(t, err)
		same, err := nats.EnsureKey(path, kind)
		require.NoError(t, err)
		require.Equal(t, same, public)
		require.True(t, nats.IsPublicKey(public, kind))
		require.False(t, nats.IsPublicKey(public, nats.KeyKind(1+int(kind)%3)))
		require.False(t, nats.IsPublicKey(public[:20], kind))
		_, err = nats.PublicKey(seed, nats.KeyKind(1+int(kind)%3))
		require.ErrorIs(t, err, domain.ErrInvalid)
		require.NotContains(t, err.Error(), strings.TrimSpace(string(seed)))
	}
	_, err := nats.NewSeed(0)
	require.ErrorContains(t, err, "is not a kind of nkey")
}
