package nats_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/deploy/nats"
)

// valuesOf are the values of the Score's release.
func valuesOf(t *testing.T, score *nats.FleetNatsScore) map[string]any {
	t.Helper()
	resources, err := score.Resources(&broker{})
	require.NoError(t, err)
	release, ok := resources[len(resources)-1].(*kube.Release)
	require.True(t, ok)
	return release.Values
}

func TestValuesAreThoseOfTheUpstreamChart(t *testing.T) {
	reference, err := os.ReadFile("testdata/nats-2.14.2-values.yaml")
	require.NoError(t, err)
	secret := &nats.TLS{Host: "broker.example", SecretName: "broker-tls"}
	for name, score := range map[string]*nats.FleetNatsScore{
		"smallest": {Devices: 1, Admission: callout(t)},
		"users":    {Devices: 10, Admission: users(), Unsynced: true, StorageClass: "fast", StorageGiB: 3},
		"tls": {
			Devices: 1000, Admission: callout(t), Replicas: 3, ImageRegistry: "mirror.example", PodMonitor: true,
			TLS: &nats.TLS{Host: "broker.example", Certificate: []byte("certificate"), Key: []byte("s3cret-key")},
		},
		"everything": {
			Devices: 100_000, Admission: callout(t), Replicas: 3, TLS: secret, LeafNodes: true,
			Websocket: &nats.Websocket{Hosts: []string{"ws.example"}, IngressClass: "nginx", IngressTLS: "ws-tls"},
			Service:   nats.Service{Type: corev1.ServiceTypeLoadBalancer, Annotations: map[string]string{"a": "b"}},
		},
		"websocket without ingress": {Devices: 10, Admission: callout(t), TLS: secret, Websocket: &nats.Websocket{}},
	} {
		values := valuesOf(t, score)
		require.Empty(t, charttest.UnknownKeys(t, reference, values), name)
		text, err := json.Marshal(values)
		require.NoError(t, err)
		require.NotContains(t, string(text), "s3cret", name)
	}
}

// The test of the keys finds a key that the chart does not have.
func TestUnknownKeysAreFound(t *testing.T) {
	reference, err := os.ReadFile("testdata/nats-2.14.2-values.yaml")
	require.NoError(t, err)
	require.Equal(t, []string{"config.jetstream.filestore", "natsBox.enabled is no map", "tlsCA is no plain value"}, charttest.UnknownKeys(t, reference, map[string]any{
		"config":  map[string]any{"jetstream": map[string]any{"filestore": true, "merge": map[string]any{"any": 1}}},
		"natsBox": map[string]any{"enabled": map[string]any{}},
		"tlsCA":   true,
	}))
}

func TestValuesFollowTheScore(t *testing.T) {
	at := func(values map[string]any, path ...string) any {
		var found any = values
		for _, key := range path {
			found = found.(map[string]any)[key]
		}
		return found
	}
	plain := valuesOf(t, &nats.FleetNatsScore{Devices: 1000, Admission: callout(t)})
	require.Equal(t, "always", at(plain, "config", "jetstream", "merge", "sync_interval"))
	require.Nil(t, at(plain, "config", "cluster"))
	require.Equal(t, 1350, at(plain, "config", "merge", "max_connections"))
	unsynced := valuesOf(t, &nats.FleetNatsScore{Devices: 1000, Admission: callout(t), Unsynced: true})
	require.Nil(t, at(unsynced, "config", "jetstream", "merge"))
	large := valuesOf(t, &nats.FleetNatsScore{Devices: 100_000, Admission: callout(t), Replicas: 3, TLS: &nats.TLS{Host: "h", SecretName: "tls"}})
	require.Equal(t, 3, at(large, "config", "cluster", "replicas"))
	require.Equal(t, 1667, at(large, "config", "nats", "tls", "merge", "connection_rate_limit"))
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		devices, replicas int
		size              nats.Size
	}{
		{100, 1, nats.Size{MaxConnections: 225, HandshakesPerSecond: 50, MemoryMiB: 329, MilliCPU: 252, MemoryStoreMiB: 64, StorageGiB: 9}},
		{1000, 1, nats.Size{MaxConnections: 1350, HandshakesPerSecond: 50, MemoryMiB: 418, MilliCPU: 272, MemoryStoreMiB: 65, StorageGiB: 9}},
		{10_000, 3, nats.Size{MaxConnections: 12_600, HandshakesPerSecond: 167, MemoryMiB: 827, MilliCPU: 362, MemoryStoreMiB: 83, StorageGiB: 9}},
		{100_000, 3, nats.Size{MaxConnections: 125_100, HandshakesPerSecond: 1667, MemoryMiB: 5397, MilliCPU: 1375, MemoryStoreMiB: 259, StorageGiB: 15}},
	} {
		require.Equal(t, c.size, nats.SizeFor(c.devices, c.replicas))
	}
}
