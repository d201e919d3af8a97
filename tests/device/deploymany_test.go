package device

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFleetDeployMany installs several hosts at once, from nothing to heartbeats
// that the fleet hears, and prints how long it took. FLEET_HOSTS sets how many,
// for figures; FLEET_EVENTS is where the events are kept.
func TestFleetDeployMany(t *testing.T) {
	requireDevices(t)
	hosts := 3
	if text := os.Getenv("FLEET_HOSTS"); text != "" {
		var err error
		hosts, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	s, podman := newSite(t, hosts), newPodman(t)
	var all []reached
	for i := range hosts {
		d := newDevice(t, podman, fmt.Sprintf("paris-%02d", i+1))
		s.devices = append(s.devices, d)
		s.network.plug(t, d)
		all = append(all, s.reach(t, d, i+1))
	}
	file := s.describe(t, built.packages[0], all...)
	for _, expect := range []string{"changed", "unchanged"} {
		began := time.Now()
		result, said, code := fleetDeploy(t.Context(), t, "apply", file, "--yes", "--parallel", strconv.Itoa(hosts))
		if path := os.Getenv("FLEET_EVENTS"); path != "" {
			require.NoError(t, os.WriteFile(path+"."+expect, []byte(said), 0o600))
		}
		require.Zero(t, code, said)
		require.Len(t, result.Results, hosts)
		for _, one := range result.Results {
			for _, step := range one.Outcome.Steps {
				if step.ID == "service fleet-agent" {
					require.Equal(t, expect, step.State, one.Target)
				}
			}
		}
		t.Logf("%d hosts, %s: %s", hosts, expect, time.Since(began).Round(time.Second))
	}
}
