package agent

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy/host"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestUnitIsThePackages(t *testing.T) {
	packaged, err := os.ReadFile("../../packaging/fleet-agent.service")
	require.NoError(t, err)
	require.Equal(t, string(packaged), unit)
	require.Contains(t, bareUnitText(), "\nExecStart=/usr/local/bin/fleet-agent --config /etc/fleet-agent/config.toml\n")
}

const signingKey = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

func config() Config {
	return Config{
		SigningKeys: []string{signingKey},
		Servers:     []string{"tls://a.example:4222", "tls://b.example:4222"},
		CA:          []byte("pem"),
		User:        `pi "1" \ & é`,
		Password:    []byte("secret"),
		Labels:      contracts.Labels{"rack": "7", "a.b": "x"},
		LogLevel:    "debug",
	}
}

func TestRender(t *testing.T) {
	c := config()
	got, err := c.render("pi-1")
	require.NoError(t, err)
	require.Equal(t, `# Written by fleet-deploy, which replaces it when it is run again.
device = "pi-1"
state_dir = "/var/lib/fleet-agent"
signing_keys = ["`+signingKey+`"]

[broker]
servers = ["tls://a.example:4222","tls://b.example:4222"]
user = "pi \"1\" \\ & é"
password_file = "/etc/fleet-agent/password"
ca_file = "/etc/fleet-agent/ca.pem"

[log]
level = "debug"

[labels]
"a.b" = "x"
"rack" = "7"
`, string(got))
	require.NotContains(t, string(got), "secret")
}

func TestRenderOfADeviceThatEnrolls(t *testing.T) {
	c := Config{Servers: []string{"tls://a.example:4222"}, CA: []byte("pem"), Enrollment: &Enrollment{}}
	_, err := c.render("pi-1")
	require.ErrorContains(t, err, "where the token comes from")
	c.Enrollment.Token = func(context.Context, string) (string, error) { return "", nil }
	got, err := c.render("pi-1")
	require.NoError(t, err)
	require.Equal(t, `# Written by fleet-deploy, which replaces it when it is run again.
state_dir = "/var/lib/fleet-agent"

[broker]
servers = ["tls://a.example:4222"]
ca_file = "/etc/fleet-agent/ca.pem"
`, string(got), "who it is and whom it trusts, it has from its fleet")
	c.NKey = []byte("seed")
	_, err = c.render("pi-1")
	require.ErrorContains(t, err, "needs neither a key nor a user")
}

func TestScoreChecksItsInput(t *testing.T) {
	valid := func() *FleetAgentScore {
		return &FleetAgentScore{Device: "pi-1", Programs: map[string][]byte{"amd64": nil}, Config: config()}
	}
	_, err := valid().Resources(host.Local{})
	require.NoError(t, err)
	for says, spoil := range map[string]func(*FleetAgentScore){
		"device":                          func(s *FleetAgentScore) { s.Device = "Pi" },
		"name packages or programs":       func(s *FleetAgentScore) { s.Programs = nil },
		"name at least one URL":           func(s *FleetAgentScore) { s.Config.Servers = nil },
		"signing keys: name at least one": func(s *FleetAgentScore) { s.Config.SigningKeys = nil },
		"signing keys":                    func(s *FleetAgentScore) { s.Config.SigningKeys = []string{"x"} },
		"not both":                        func(s *FleetAgentScore) { s.Config.NKey = []byte("x") },
		"a user needs a password":         func(s *FleetAgentScore) { s.Config.Password = nil },
		"labels":                          func(s *FleetAgentScore) { s.Config.Labels = contracts.Labels{"": "x"} },
	} {
		score := valid()
		spoil(score)
		_, err := score.Resources(host.Local{})
		require.ErrorIs(t, err, domain.ErrInvalid, says)
		require.ErrorContains(t, err, says)
	}
}

func TestOrderOfResources(t *testing.T) {
	enrolling := config()
	enrolling.User, enrolling.Password = "", nil
	enrolling.Enrollment = &Enrollment{Token: func(context.Context, string) (string, error) { return "", nil }}
	resources, err := (&FleetAgentScore{Device: "pi-1", Programs: map[string][]byte{"amd64": nil}, Config: enrolling}).Resources(host.Local{})
	require.NoError(t, err)
	require.Equal(t, "enrollment", resources[len(resources)-3].ID(), "the configuration is checked with the identity")

	score := &FleetAgentScore{Device: "pi-1", Programs: map[string][]byte{"amd64": nil}, Config: config(), InstallPodman: true}
	resources, err = score.Resources(host.Local{})
	require.NoError(t, err)
	var ids []string
	for _, resource := range resources {
		ids = append(ids, resource.ID())
	}
	require.Equal(t, "host, podman, directory /var/lib/fleet-agent, directory /etc/fleet-agent, program /usr/local/bin/fleet-agent, "+
		"file /etc/systemd/system/fleet-agent.service, file /etc/fleet-agent/ca.pem, file /etc/fleet-agent/password, "+
		"file /etc/fleet-agent/config.toml, service fleet-agent", strings.Join(ids, ", "))
}
