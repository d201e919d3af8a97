package operator_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy/bundle"
	"github.com/nationtech/harmony-fleet/deploy/operator"
)

func TestSizeFollowsFromTheDevices(t *testing.T) {
	require.Equal(t, operator.Size{MemoryMiB: 96, MilliCPU: 100}, operator.SizeFor(100))
	require.Equal(t, operator.Size{MemoryMiB: 1072, MilliCPU: 400}, operator.SizeFor(100_000))

	score := &operator.FleetOperatorScore{Image: "i", Servers: []string{"nats://b"}, NKey: []byte("seed"), Devices: 10_000}
	resources, err := score.Resources(nil)
	require.NoError(t, err)
	values := bundle.Releases(resources)[0].Values
	require.Equal(t, map[string]any{
		"requests": map[string]any{"cpu": "130m", "memory": "193Mi"}, "limits": map[string]any{"memory": "386Mi"},
	}, values["resources"])

	score.Devices = 0
	resources, err = score.Resources(nil)
	require.NoError(t, err)
	require.NotContains(t, bundle.Releases(resources)[0].Values, "resources", "the chart's own")
	score.Devices = -1
	_, err = score.Resources(nil)
	require.ErrorContains(t, err, "devices: -1 is less than none")
}
