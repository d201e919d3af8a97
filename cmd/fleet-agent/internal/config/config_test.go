package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/identity"
	"github.com/nationtech/harmony-fleet/contracts"
)

const key = "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

const good = `
device = "pi-042"
state_dir = "/var/lib/fleet-agent"
signing_keys = ["` + key + `"]

[labels]
rack = "7"

[broker]
servers = ["nats://127.0.0.1:4222"]
nkey_file = "/etc/fleet-agent/device.nk"

[log]
level = "debug"
`

func TestParseReadsEveryKey(t *testing.T) {
	t.Parallel()
	c, err := config.Parse(good)
	require.NoError(t, err)
	require.Equal(t, contracts.DeviceID("pi-042"), c.Device)
	require.Equal(t, "7", c.Labels["rack"])
	keys, err := c.TrustedKeys()
	require.NoError(t, err)
	require.Len(t, keys, 1)
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ text, want string }{
		"unknown key":         {good + "\n[brokr]\nx = 1\n", `unknown key "brokr"`},
		"unknown inner key":   {good + "\ncolour = \"red\"\n", `line 16: unknown key "log.colour"`},
		"wrong type":          {"device = 7\n", "line 1"},
		"syntax":              {"device = \n", "line 1"},
		"bad device":          {"device = \"Pi\"\n", "device:"},
		"relative dir":        {"device = \"a\"\nstate_dir = \"x\"\n", "state_dir:"},
		"no keys":             {"device = \"a\"\nstate_dir = \"/x\"\n", "signing_keys:"},
		"bad key":             {"device = \"a\"\nstate_dir = \"/x\"\nsigning_keys = [\"x\"]\n", "signing_keys[0]:"},
		"no servers":          {"device = \"a\"\nstate_dir = \"/x\"\nsigning_keys = [\"" + key + "\"]\n", "broker.servers:"},
		"bad duration":        {good + "\n[podman]\npull_timeout = \"soon\"\n", "not a duration"},
		"relative socket":     {good + "\n[podman]\nsocket = \"x.sock\"\n", "podman.socket:"},
		"nkey without device": {"state_dir = \"/x\"\n[broker]\nnkey_file = \"/k\"\n", "fleet-agent enroll"},
		"user without device": {"[broker]\nuser = \"a\"\npassword_file = \"/k\"\n", "fleet-agent enroll"},
		"key without device":  {"signing_keys = [\"x\"]\n", "signing_keys[0]:"},
		"bad level":           {good + "format = \"xml\"\n", "log.format:"},
		"bad exec":            {good + "\n[commands]\nexec = \"yes\"\n", "commands.exec: \"yes\" is unknown: use none, workloads or all"},
		"bad listen":          {good + "\n[metrics]\nlisten = \":9464\"\n", "metrics.listen: \":9464\" names no host"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse(c.text)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none.toml")
	_, err := config.Load(missing)
	require.ErrorContains(t, err, missing)
	require.ErrorContains(t, err, "FLEET_AGENT_CONFIG")

	broken := filepath.Join(t.TempDir(), "broken.toml")
	require.NoError(t, os.WriteFile(broken, []byte("x = 1\n"), 0o600))
	_, err = config.Load(broken)
	require.ErrorContains(t, err, broken)
	require.ErrorContains(t, err, `unknown key "x"`)
}

func TestLoadTakesFromTheEnrollmentWhatIsLeftOpen(t *testing.T) {
	t.Parallel()
	c, err := config.Parse("")
	require.NoError(t, err)
	require.Equal(t, config.DefaultStateDir, c.StateDir)

	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	write := func(text string) {
		require.NoError(t, os.WriteFile(path, []byte("state_dir = \""+dir+"\"\n"+text), 0o600))
	}
	write("")
	_, err = config.Load(path)
	require.ErrorIs(t, err, identity.ErrNone)
	c, err = config.Read(path)
	require.NoError(t, err)
	pending, err := c.Identities().Pending()
	require.NoError(t, err)
	require.NoError(t, c.Identities().Commit(identity.Identity{Device: "pi-7", Key: pending.Name, Credential: contracts.DeviceCredential{
		Issuer: "https://id.example", UserID: "fleet-pi-7", KeyID: "1", Servers: []string{"tls://a"}, ServerCA: "PEM", SigningKeys: []string{key},
	}}))
	c, err = config.Load(path)
	require.NoError(t, err)
	require.Equal(t, contracts.DeviceID("pi-7"), c.Device)
	require.Equal(t, []string{"tls://a"}, c.Broker.Servers)
	require.Equal(t, []string{key}, c.SigningKeys)
	require.FileExists(t, c.Broker.CAFile)

	write("[broker]\nservers = [\"tls://b\"]\nca_file = \"/other.pem\"\n")
	c, err = config.Load(path)
	require.NoError(t, err)
	require.Equal(t, config.Broker{Servers: []string{"tls://b"}, CAFile: "/other.pem"}, c.Broker)
	write("device = \"pi-8\"\nsigning_keys = [\"" + key + "\"]\n[broker]\nservers = [\"tls://b\"]\n")
	c, err = config.Load(path)
	require.NoError(t, err)
	require.Nil(t, c.Identity, "a device that is named needs no enrollment")
}
