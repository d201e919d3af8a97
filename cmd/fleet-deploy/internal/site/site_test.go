package site_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-deploy/internal/site"
)

const example = `agents:
  programs: {amd64: fleet-agent}
  signingKeys: ["ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
  servers: ["tls://broker.example:4222"]
  ssh: {user: pi, keyFile: ~/.ssh/id_ed25519}
  hosts:
    - {device: pi-1, address: 192.0.2.1, nkeyFile: pi-1.nk}
    - {device: pi-2, local: true, user: pi-2, passwordFile: pi-2.password}
`

// write writes a site with the files that it names.
func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"site.yaml": text, "fleet-agent": "program", "pi-1.nk": "seed", "pi-2.password": "word"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return filepath.Join(dir, "site.yaml")
}

func open(path string) (*site.Opened, error) {
	described, err := site.Read(path)
	if err != nil {
		return nil, err
	}
	return described.Open(site.Environment{Getenv: func(name string) (string, bool) { return "/home/me", name == "HOME" }})
}

func TestOpen(t *testing.T) {
	opened, err := open(write(t, example))
	require.NoError(t, err)
	require.Len(t, opened.Targets, 2)
	require.Len(t, opened.Closers, 1)
	all, err := opened.Only(nil)
	require.NoError(t, err)
	require.Len(t, all, 2)
	some, err := opened.Only([]string{"pi-2"})
	require.NoError(t, err)
	require.Equal(t, "pi-2", some[0].Name)
	_, err = opened.Only([]string{"pi-3"})
	require.EqualError(t, err, "--only pi-3: the site has no such target; it has pi-1, pi-2")
}

func TestMistakesAreNamed(t *testing.T) {
	_, err := open("/nonexistent/site.yaml")
	require.ErrorContains(t, err, "name the one that describes the site with --file")
	for text, says := range map[string]string{
		"":                               "it is empty",
		"{}":                             "it describes nothing",
		"agents: {hots: 1}":              "field hots not found",
		example + "---\n{}":              "second document",
		"agents: {}":                     "agents.hosts: name at least one host",
		"agents: {packages: [none.deb]}": "agents.packages: package",
		"agents: {caFile: none.pem}":     "agents.caFile: open",
		"agents: {hosts: [{device: Pi, local: true}]}":                                 "agents.hosts[0] (Pi): device",
		"agents: {hosts: [{device: pi}]}":                                              "agents.hosts[0] (pi): address: name it",
		"agents: {hosts: [{device: pi, address: a, hostKey: x}]}":                      "agents.hosts[0] (pi): hostKey",
		"agents: {hosts: [{device: pi, local: true, nkeyFile: none}]}":                 "nkeyFile: open",
		example + "    - {device: pi-1, local: true}":                                  `device "pi-1" is there twice`,
		"agents: {programs: {amd64: fleet-agent}, hosts: [{device: pi, local: true}]}": "signing keys: name at least one",
	} {
		_, err := open(write(t, text))
		require.ErrorContains(t, err, says, text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := site.Parse(data)
		if err == nil && parsed.Agents == nil {
			t.Fatal("an empty site was accepted")
		}
	})
}
