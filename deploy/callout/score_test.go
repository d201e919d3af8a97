package callout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	adapter "github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/callout"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

const signingKey = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

func valid() *callout.FleetCalloutScore {
	return &callout.FleetCalloutScore{
		Image: "registry.example/fleet-operator:1", Devices: 1000, Servers: []string{"tls://broker.example:4222"},
		Identity: callout.Identity{
			Issuer: "https://sso.example", Organization: "1", Project: "2", DevicePrefix: "fleet-", ServiceKey: []byte("{}"),
		},
		SigningKeys: []string{signingKey},
	}
}

// seed makes one of a kind.
func seed(t *testing.T, kind adapter.KeyKind) []byte {
	t.Helper()
	made, err := adapter.NewSeed(kind)
	require.NoError(t, err)
	return made
}

func TestInputIsChecked(t *testing.T) {
	user := seed(t, adapter.UserKey)
	for says, spoil := range map[string]func(*callout.FleetCalloutScore){
		"image":                   func(s *callout.FleetCalloutScore) { s.Image = "" },
		"devices":                 func(s *callout.FleetCalloutScore) { s.Devices = 0 },
		"is less than none":       func(s *callout.FleetCalloutScore) { s.Replicas = -1 },
		"at least one URL":        func(s *callout.FleetCalloutScore) { s.Servers = nil },
		"is no URL such as":       func(s *callout.FleetCalloutScore) { s.Servers = []string{"broker:4222"} },
		"keyLifetime":             func(s *callout.FleetCalloutScore) { s.KeyLifetime = time.Minute },
		"and not both":            func(s *callout.FleetCalloutScore) { s.Identity.ServiceKeySecret = "there" },
		"identity.issuer":         func(s *callout.FleetCalloutScore) { s.Identity.Issuer = "" },
		"identity.organization":   func(s *callout.FleetCalloutScore) { s.Identity.Organization = "" },
		"identity.project":        func(s *callout.FleetCalloutScore) { s.Identity.Project = "" },
		"identity.devicePrefix":   func(s *callout.FleetCalloutScore) { s.Identity.DevicePrefix = "" },
		"key of the service user": func(s *callout.FleetCalloutScore) { s.Identity.ServiceKey = nil },
		"name at least one;":      func(s *callout.FleetCalloutScore) { s.SigningKeys = nil },
		"signingKeys: ":           func(s *callout.FleetCalloutScore) { s.SigningKeys = []string{"ed25519:x"} },
		"keys: ":                  func(s *callout.FleetCalloutScore) { s.Keys = &callout.Keys{} },
		"keys: issuer.nk: nkey seed: it holds another kind": func(s *callout.FleetCalloutScore) {
			s.Keys = &callout.Keys{Issuer: user, CalloutUser: user, SystemUser: user}
		},
		"operatorNKey": func(s *callout.FleetCalloutScore) { s.OperatorNKey = []byte("SUAsecret") },
	} {
		score := valid()
		spoil(score)
		_, err := score.Resources(&kube.Topology{})
		require.ErrorIs(t, err, domain.ErrInvalid, says)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "SUAsecret")
		require.NotContains(t, err.Error(), strings.TrimSpace(string(user)))
	}
	// Keys without exchange.nk are complete.
	score := valid()
	score.Keys = &callout.Keys{Issuer: seed(t, adapter.IssuerKey), CalloutUser: user, SystemUser: user}
	_, err := score.Resources(&kube.Topology{})
	require.NoError(t, err)
}

func TestResourcesAreNamedAndOrdered(t *testing.T) {
	score := valid()
	score.CA, score.Approve.Serials = []byte("pem"), []byte("C02\n")
	resources, err := score.Resources(&kube.Topology{})
	require.NoError(t, err)
	var ids []string
	for _, resource := range resources {
		ids = append(ids, resource.ID())
	}
	require.Equal(t, []string{
		"cluster", "Namespace fleet", "Secret fleet/fleet-callout-keys", "Secret fleet/fleet-operator-nkey",
		"Secret fleet/fleet-callout-broker", "Secret fleet/fleet-callout-identity", "ConfigMap fleet/fleet-callout-approvals",
		"release fleet/fleet-callout",
	}, ids)
	require.IsType(t, &deploy.Late{}, resources[7])
}

func TestSizes(t *testing.T) {
	require.Equal(t, callout.Size{Replicas: 2, MilliCPU: 122, MemoryMiB: 131}, callout.SizeFor(1000, 0))
	require.Equal(t, callout.Size{Replicas: 3, MilliCPU: 1225, MemoryMiB: 518}, callout.SizeFor(100_000, 0))
	require.Equal(t, 325, callout.SizeFor(10_000, 1).MilliCPU, "one has nobody to share with")
}
