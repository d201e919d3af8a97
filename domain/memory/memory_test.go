package memory_test

import (
	"testing"

	"github.com/nationtech/harmony-fleet/domain/conformance"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

func TestDeviceRegistry(t *testing.T) {
	t.Parallel()
	conformance.DeviceRegistry(t, func(*testing.T) conformance.DeviceRegistryFixture {
		fleet := memory.New()
		return conformance.DeviceRegistryFixture{
			Registry: fleet.Devices(),
			Second:   fleet.Devices(),
			Restart:  restart(fleet),
		}
	})
}

func restart(fleet *memory.Fleet) func(*testing.T) {
	return func(*testing.T) { fleet.Restart() }
}
