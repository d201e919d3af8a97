package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// privateAuthority is a certificate authority that no system knows.
type privateAuthority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) privateAuthority {
	t.Helper()
	a := privateAuthority{t: t}
	a.certificate, a.key = a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	return a
}

// issue signs a template with a new key by the authority, or by itself without one.
func (a privateAuthority) issue(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(a.t, err)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(a.t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return certificate, key
}

// write stores the authority's certificate.
func (a privateAuthority) write(path string) string {
	a.t.Helper()
	writePEM(a.t, path, "CERTIFICATE", a.certificate.Raw)
	return path
}

// serve makes a broker's certificate.
func (a privateAuthority) serve(certFile, keyFile string) *nats.ServerTLS {
	a.t.Helper()
	certificate, key := a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "broker"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.certificate, a.key)
	writePEM(a.t, certFile, "CERTIFICATE", certificate.Raw)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	writePEM(a.t, keyFile, "PRIVATE KEY", der)
	return &nats.ServerTLS{CertFile: certFile, KeyFile: keyFile}
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// TestPrivateAuthority: the broker's certificate is of an authority that only the
// fleet knows. Whoever is told of it works; whoever is not, or of another, is told
// what is wrong and sends nothing.
func TestPrivateAuthority(t *testing.T) {
	t.Parallel()
	f := startAuthFleetWith(t, func(f *authFleet) {
		authority := newAuthority(t, "the fleet's own")
		f.authority = authority.write(f.path("ca.pem"))
		f.config.TLS = authority.serve(f.path("broker.pem"), f.path("broker.key"))
	})
	require.True(t, strings.HasPrefix(f.server, "tls://"), f.server)
	f.startCallout("only", "--device-server", f.server)
	other := newAuthority(t, "another").write(f.path("other.pem"))

	pi := f.device("pi-1")
	token := pi.invite("token", "-l", "site=paris")
	mistakes := map[string]string{"none": "", "another": other}
	for name, authority := range mistakes {
		_, said, err := fleettest.Run(f.ctx, filepath.Join(bin, "fleet"), []string{"get", "devices"}, []string{
			"FLEET_NATS_URL=" + f.server, "FLEET_NKEY=" + f.path("operator.nk"), "XDG_CONFIG_HOME=" + f.path("config"), "FLEET_TLS_CA=" + authority,
		})
		require.Equal(t, 1, exitCode(t, err), name)
		require.True(t, containsAll(said, "the broker's certificate is not trusted here", "x509: certificate signed by unknown authority", "--tls-ca"), said)

		args := []string{"enroll", "--config", pi.config(), "--server", f.server, "--token-file", token, "--no-wait"}
		if authority != "" {
			args = append(args, "--ca-file", authority)
		}
		_, said, err = fleettest.Run(f.ctx, filepath.Join(bin, "fleet-agent"), args, nil)
		require.Equal(t, 5, exitCode(t, err), "%s: %s", name, said) // the fleet cannot be reached
		require.True(t, containsAll(said, "the broker's certificate is not trusted here", "unknown authority"), said)
	}

	out, err := pi.enroll(token)
	require.NoError(t, err, "the token was shown to nobody\n%s", out)
	pi.startAgent()
	pi.awaitLink(true) // with the authority that it was told at enrollment
	f.mustFleet("apply", "-f", example("hello.yaml"))
	f.until("hello to run", func() (bool, string) {
		shown, err := f.fleet("logs", "pi-1/hello", "--tail", "1")
		return strings.Contains(shown, "from pi-1"), fmt.Sprint(shown, err)
	})

	// An operator with the wrong authority does not get in, and says why.
	stray := f.start("stray operator", "fleet-operator", "run", "--server", f.server, "--nkey-file", f.path("operator.nk"),
		"--signing-key-file", f.path("signing.pem"), "--identity", "stray", "--health-address", "", "--ca-file", other)
	f.until("the stray operator to say why", func() (bool, string) {
		return containsAll(stray.Output(), "not connected to the broker", "x509: certificate signed by unknown authority"), stray.Output()
	})
	pi.stopAgent()
}
