package pod

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy/agent"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

func valid() *FleetAgentPodScore {
	return &FleetAgentPodScore{
		Device: "gateway-1", Image: "registry.example/fleet-agent:1", Fleet: memory.New().Observed(),
		Config: agent.Config{
			SigningKeys: []string{"ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
			Servers:     []string{"tls://broker.example:4222"}, NKey: []byte("seed"),
		},
	}
}

func TestScoreChecksItsInput(t *testing.T) {
	_, err := valid().Resources(&kube.Topology{})
	require.NoError(t, err)
	for says, spoil := range map[string]func(*FleetAgentPodScore){
		"device":              func(s *FleetAgentPodScore) { s.Device = "A" },
		"too long for a pod":  func(s *FleetAgentPodScore) { s.Device = "a2345678901234567890123456789012345678901" },
		"image: name":         func(s *FleetAgentPodScore) { s.Image = "" },
		"storage":             func(s *FleetAgentPodScore) { s.Storage = "much" },
		"it cannot enroll":    func(s *FleetAgentPodScore) { s.Config.Enrollment = &agent.Enrollment{} },
		"fleet: name the one": func(s *FleetAgentPodScore) { s.Fleet = nil },
		"servers: name":       func(s *FleetAgentPodScore) { s.Config.Servers = nil },
	} {
		score := valid()
		spoil(score)
		_, err := score.Resources(&kube.Topology{})
		require.ErrorIs(t, err, domain.ErrInvalid, says)
		require.ErrorContains(t, err, says)
	}
}

func TestTheCredentialIsInTheSecretAlone(t *testing.T) {
	resources, err := valid().Resources(&kube.Topology{})
	require.NoError(t, err)
	secret, ok := resources[2].(*kube.Secret)
	require.True(t, ok)
	require.Equal(t, "seed", string(secret.Data["device.nk"]))
	require.Contains(t, string(secret.Data[configFile]), "[podman]\ndisabled = true")
	set, ok := resources[3].(*kube.Object)
	require.True(t, ok)
	text, err := set.Object.MarshalJSON()
	require.NoError(t, err)
	require.NotContains(t, string(text), "seed")
}
