package natstest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
)

func TestMeasurePublish(t *testing.T) {
	t.Parallel()
	measured, err := natstest.MeasurePublish(t.Context(), t.TempDir(), 2500, true)
	require.NoError(t, err)
	require.Equal(t, 2500, measured.Devices)
	require.Positive(t, measured.Bytes)
	require.Positive(t, measured.Ratio())
}

// BenchmarkPublish publishes to 100,000 devices, once per round.
func BenchmarkPublish(b *testing.B) {
	for _, sync := range []bool{true, false} {
		b.Run(fmt.Sprintf("sync=%t", sync), func(b *testing.B) {
			for b.Loop() {
				measured, err := natstest.MeasurePublish(b.Context(), b.TempDir(), 100_000, sync)
				require.NoError(b, err)
				b.ReportMetric(measured.Ratio(), "ratio")
				b.Log(measured)
			}
		})
	}
}
