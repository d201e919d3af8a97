package site_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-deploy/internal/site"
	"github.com/nationtech/harmony-fleet/contracts"
)

func TestSet(t *testing.T) {
	path := write(t, example)
	read, err := site.Read(site.Source{Path: path, Set: []string{
		"agents.servers=[tls://a:4222, tls://b:4222]",
		"agents.hosts[0].labels={rack: \"7\"}",
		`agents.hosts[0].labels.example\.org/row=3`,
		"agents.hosts[2].device=pi-3",
		"agents.ssh.user=",
		"nats.devices=1000",
		"nats.chart.digest=sha256:00",
		"operator.heartbeatInterval=20s",
	}})
	require.NoError(t, err)
	require.Equal(t, []string{"tls://a:4222", "tls://b:4222"}, read.Agents.Servers)
	require.Equal(t, contracts.Labels{"rack": "7", "example.org/row": "3"}, read.Agents.Hosts[0].Labels)
	require.Equal(t, "192.0.2.1", read.Agents.Hosts[0].Address, "the file's")
	require.Equal(t, contracts.DeviceID("pi-3"), read.Agents.Hosts[2].Device)
	require.Empty(t, read.Agents.SSH.User)
	require.Equal(t, 1000, read.Nats.Devices)
	require.Equal(t, "20s", read.Operator.HeartbeatInterval.String())

	read, err = site.Read(site.Source{Set: []string{"agents.hosts[0].device=pi"}})
	require.NoError(t, err)
	require.Len(t, read.Agents.Hosts, 1)
	read, err = site.Read(site.Source{Path: "-", Stdin: strings.NewReader(example)})
	require.NoError(t, err)
	require.Len(t, read.Agents.Hosts, 2)
}

func TestSetNamesMistakes(t *testing.T) {
	path := write(t, example)
	for text, says := range map[string]string{
		"nats":                            "write it as path=value",
		"=1":                              "a key is missing",
		"nats..devices=1":                 "a key is missing",
		"nats.=1":                         "a key is missing",
		"gnats.devices=1":                 `a site has no "gnats"; it has kubernetes, images, nats,`,
		"nats.devices.x=1":                "nats.devices has nothing below it",
		"nats[0]=1":                       "nats is no list",
		"agents.hosts.device=x":           "agents.hosts is a list: write agents.hosts[0]",
		"agents.hosts[7].device=x":        "it has 2 elements: the next is [2]",
		"agents.hosts[x].device=x":        "write an index as [0]",
		"agents.hosts[0]device=x":         "a dot is missing after an index",
		"agents.servers=[a":               "the value is no YAML",
		"agents.caFile=# none":            "the value is nothing but a comment",
		"agents.hosts[0].device.x=y":      "nothing below it",
		"agents.hosts[0]={address: [a]}":  "cannot unmarshal",
		"agents.hosts[0]={adresse: a}":    "field adresse not found",
		"agents.hosts[99999999].device=x": "write an index as [0]",
	} {
		_, err := site.Read(site.Source{Path: path, Set: []string{text}})
		require.ErrorContains(t, err, says, text)
	}
	_, err := site.Read(site.Source{Path: write(t, "agents: [a]"), Set: []string{"agents.caFile=x"}})
	require.ErrorContains(t, err, "agents: the file has not keys there")
}

func TestComplete(t *testing.T) {
	require.Subset(t, site.Complete(""), []string{"agents.", "images.", "kubernetes.", "nats.", "operator.", "zitadel."})
	require.Equal(t, []string{"agents.hosts[0]."}, site.Complete("agents.h"))
	require.Equal(t, []string{"agents.hosts[0].labels.", "agents.hosts[0].local="}, site.Complete("agents.hosts[0].l"))
	require.Empty(t, site.Complete("agents.caFile="))
	require.Empty(t, site.Complete("none.x"))
	require.Empty(t, site.Complete("agents.hosts."))
}

func FuzzSet(f *testing.F) {
	f.Add("nats.devices=1")
	f.Add(`agents.hosts[1].labels.a\.b={x: y}`)
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "site.yaml")
		if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := site.Read(site.Source{Path: path, Set: []string{text}})
		if err == nil && read == nil {
			t.Fatal("neither a site nor an error")
		}
	})
}

func TestReleasesNeedNoClusterAndNoSecrets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "site.yaml")
	require.NoError(t, os.WriteFile(path, []byte(clusterExample+"operator: {image: i, servers: [a], nkeyFile: none, signingKeyFile: none}\n"+
		strings.Replace(example, "fleet-agent}", "none}", 1)), 0o600))
	read, err := site.Read(site.Source{Path: path})
	require.NoError(t, err)
	nothing := site.Environment{Getenv: func(string) (string, bool) { return "", false }}
	releases, err := read.Releases(nothing, nil)
	require.NoError(t, err)
	var names []string
	for _, release := range releases {
		names = append(names, release.Namespace+"/"+release.Name)
	}
	require.Equal(t, []string{"fleet/nats", "fleet/zitadel", "fleet/fleet-operator"}, names)
	releases, err = read.Releases(nothing, []string{"server"})
	require.NoError(t, err)
	require.Len(t, releases, 3)
	_, err = read.Releases(nothing, []string{"king"})
	require.ErrorContains(t, err, "--only king")
	_, err = os.Stat(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestReleasesOfAServerWithKeysElsewhere(t *testing.T) {
	text := strings.Replace(serverExample(t), "callout: {}", `callout:
  keys: {issuerFile: none, calloutUserFile: none, systemUserFile: none}
  operatorNKeyFile: none
  identity: {caFile: none}`, 1)
	path := filepath.Join(t.TempDir(), "site.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	read, err := site.Read(site.Source{Path: path})
	require.NoError(t, err)
	releases, err := read.Releases(site.Environment{Getenv: func(string) (string, bool) { return "", false }}, nil)
	require.NoError(t, err)
	require.Len(t, releases, 4)
	require.Equal(t, "fleet-callout", releases[3].Name)
	chart, err := releases[3].Load(t.Context())
	require.NoError(t, err)
	images, err := chart.Images("fleet", "fleet-callout", releases[3].Values)
	require.NoError(t, err)
	require.Equal(t, []string{"registry.example/fleet-operator@sha256:…"}, images)
}
