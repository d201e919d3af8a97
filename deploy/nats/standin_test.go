package nats_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	adapter "github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/domain"
)

// standIn is a chart with the upstream chart's values, and as much of its
// templates as a cluster without containers can tell apart.
func standIn(t *testing.T) charttest.Chart {
	t.Helper()
	reference, err := os.ReadFile("testdata/nats-2.14.2-values.yaml")
	require.NoError(t, err)
	return charttest.Nats(nats.ChartVersion, reference)
}

// callout are the public keys of a fleet's callout.
func callout(t *testing.T) nats.Callout {
	t.Helper()
	dir := t.TempDir()
	key := func(name string, kind adapter.KeyKind) string {
		public, err := adapter.EnsureKey(filepath.Join(dir, name), kind)
		require.NoError(t, err)
		return public
	}
	return nats.Callout{
		Issuer: key("issuer", adapter.IssuerKey), Exchange: key("exchange", adapter.ExchangeKey),
		CalloutUser: key("callout", adapter.UserKey), SystemUser: key("system", adapter.UserKey),
		Operators: []string{key("operator", adapter.UserKey)},
	}
}

// broker is a real one, in the place of the containers that the cluster lacks.
type broker struct {
	*kube.Topology
	client, monitor string
}

// Forward implements kube.Forwards.
func (b *broker) Forward(_ context.Context, _, _ string, port int) (string, io.Closer, error) {
	address, ok := map[int]string{4222: b.client, 8222: b.monitor}[port]
	if !ok {
		return "", nil, domain.Errorf(domain.ErrUnavailable, "nothing listens on port %d", port)
	}
	return address, io.NopCloser(nil), nil
}

// startBroker runs a broker with the admission of a Score.
func startBroker(t *testing.T, admission nats.Callout, serverTLS *adapter.ServerTLS) *broker {
	t.Helper()
	topology, err := kube.New(kube.Config{Kubeconfig: cluster.Get(t).Kubeconfig})
	require.NoError(t, err)
	b := &broker{Topology: topology}
	b.client, b.monitor = natstest.Serve(t, adapter.ServerConfig{
		TLS: serverTLS, Issuer: admission.Issuer, Exchange: admission.Exchange,
		CalloutUser: admission.CalloutUser, SystemUser: admission.SystemUser, Operators: admission.Operators,
	})
	return b
}
