package nats_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	adapter "github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/kubelettest"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/domain"
)

// certificate makes one for a host, that is its own authority, and its key.
func certificate(t *testing.T, host string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// The smoke test reaches a real broker with TLS by a real forward: through the API
// server to the kubelet of the pod's node.
func TestSmokeThroughAForward(t *testing.T) {
	admission := callout(t)
	cert, key := certificate(t, "broker.example")
	files := t.TempDir()
	served := &adapter.ServerTLS{CertFile: filepath.Join(files, "tls.crt"), KeyFile: filepath.Join(files, "tls.key")}
	require.NoError(t, os.WriteFile(served.CertFile, cert, 0o600))
	require.NoError(t, os.WriteFile(served.KeyFile, key, 0o600))
	broker := startBroker(t, admission, served)
	kubelet := kubelettest.Start(t, cluster.Get(t))
	score := &nats.FleetNatsScore{
		Devices: 10, Admission: admission, Namespace: cluster.Get(t).Namespace(t),
		Chart: kube.Archive{Path: standIn(t).Archive(t, t.TempDir())},
		TLS:   &nats.TLS{Host: "broker.example", Certificate: cert, Key: key, CA: cert},
	}
	kubelet.Listen(score.Namespace, "nats-0", 4222, broker.client)
	kubelet.Listen(score.Namespace, "nats-0", 8222, broker.monitor)
	run := deploy.For[nats.Cluster](score)
	_, err := run.Apply(t.Context(), broker.Topology, once)
	require.NoError(t, err)

	for says, tls := range map[string]*nats.TLS{
		"broker.example, not other.example": {Host: "other.example", Certificate: cert, Key: key, CA: cert},
		"unknown authority":                 {Host: "broker.example", Certificate: cert, Key: key},
	} {
		score.TLS = tls
		_, err = run.Smoke(t.Context(), broker.Topology, once)
		require.ErrorIs(t, err, domain.ErrInvalid)
		require.ErrorContains(t, err, "clients will refuse its certificate")
		require.ErrorContains(t, err, says)
	}
}
