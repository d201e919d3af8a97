package inventory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/inventory"
	"github.com/nationtech/harmony-fleet/contracts"
)

func TestReadFillsWhatEveryLinuxHostHas(t *testing.T) {
	t.Parallel()
	got := inventory.Read(t.TempDir(), []string{"process"})
	require.NotEmpty(t, got.Hostname)
	require.NotEmpty(t, got.Kernel)
	require.NotEmpty(t, got.OS)
	require.Positive(t, got.CPUs)
	require.Positive(t, got.MemoryBytes)
	require.Positive(t, got.DiskBytes)
	require.NotEmpty(t, inventory.BootID())
	_, err := contracts.Encode(contracts.DeviceInfo{Inventory: got, BootID: inventory.BootID(), StartedAt: time.Now()})
	require.NoError(t, err)
}
