package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy/host/hosttest"
)

type said struct {
	code        int
	out, errors string
}

func fleetDeploy(t *testing.T, args ...string) said {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	return said{code: code, out: stdout.String(), errors: stderr.String()}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 0, ""},
		{[]string{"version"}, 0, ""},
		{[]string{"plan", "-f", "/nonexistent/site.yaml"}, 2, "Error: no file /nonexistent/site.yaml"},
		{[]string{"plan", "extra"}, 2, `unknown command or argument "extra"`},
		{[]string{"plan", "--no-such-flag"}, 2, "see `fleet-deploy plan --help`"},
		{[]string{"plan", "-o", "yaml"}, 2, `--output "yaml" is unknown`},
		{[]string{"plan", "--parallel", "0"}, 2, "--parallel must be at least 1"},
		{[]string{"plan", "-f", "-"}, 2, "standard input: it is empty"},
		{[]string{"plan", "--set", "nats"}, 2, "--set nats: write it as path=value"},
		{[]string{"plan", "--set", "nats.devcies=3"}, 2, `nats has no "devcies"; it has chart, devices,`},
		{[]string{"plan", "--set", "nats.devices=many"}, 2, "--set: yaml: unmarshal errors"},
		{[]string{"plan", "--set", "agents.hosts[0].device=pi"}, 2, "address: name it"},
		{[]string{"plan", "--set", "images.registry=r", "--set", "agents.hosts[0].device=pi"}, 2, "name it with --bundle"},
		{[]string{"plan", "--bundle", "/nonexistent", "--set", "agents.hosts[0].device=pi"}, 2, "next: make it where the Internet is: fleet-deploy bundle"},
		{[]string{"bundle", "--verify", "/nonexistent"}, 1, "no such file"},
		{[]string{"bundle", "--set", "agents.podman=true"}, 2, "there is nothing to bundle"},
		{[]string{"bundle", "-o", "yaml"}, 2, `--output "yaml" is unknown`},
		{[]string{"bundle", "--only", "nats", "--set", "operator={image: i, servers: [a], nkeyFile: n}"}, 2, "--only nats: the site has no such target; it has server"},
	} {
		result := fleetDeploy(t, test.args...)
		require.Equal(t, test.code, result.code, test.args)
		require.Contains(t, result.errors, test.says)
	}
}

// describe writes a site of this machine, over SSH.
func describe(t *testing.T, server *hosttest.Server, hostKey string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fleet-agent"), []byte("program"), 0o600))
	path := filepath.Join(dir, "site.yaml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `agents:
  programs: {amd64: fleet-agent}
  signingKeys: ["ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
  servers: ["tls://broker.example:4222"]
  ssh: {keyFile: %s}
  hosts: [{device: pi-1, address: "%s", hostKey: "%s"}]
`, server.KeyFile, server.Address, hostKey), 0o600))
	return path
}

func TestFailuresAreToldWithWhatToDo(t *testing.T) {
	server, other := hosttest.Start(t), hosttest.Start(t)
	path := describe(t, server, other.HostKey)

	result := fleetDeploy(t, "plan", "-f", path)
	require.Equal(t, 1, result.code)
	require.Contains(t, result.out, "✗ host: "+server.Address+" shows another key than expected")
	require.Contains(t, result.out, "next: find out whether the host was installed anew")

	result = fleetDeploy(t, "apply", "-f", path)
	require.Equal(t, 2, result.code, "nobody can be asked")
	require.Contains(t, result.errors, "add --yes")

	result = fleetDeploy(t, "apply", "-f", path, "--yes", "-o", "json")
	require.Equal(t, 1, result.code)
	var document struct {
		Results []struct {
			Target  string
			Outcome struct{ Steps []struct{ ID, State string } }
			Failure struct{ Step, Error, Next string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(result.out), &document))
	require.Len(t, document.Results, 1)
	require.Equal(t, "pi-1", document.Results[0].Target)
	require.Equal(t, "failed", document.Results[0].Outcome.Steps[0].State)
	require.Equal(t, "host", document.Results[0].Failure.Step)
	require.Contains(t, document.Results[0].Failure.Next, "find out whether")
	for line := range strings.Lines(result.errors) {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

func TestCompletion(t *testing.T) {
	result := fleetDeploy(t, "__complete", "plan", "--set", "nats.tls.")
	require.Zero(t, result.code)
	require.Equal(t, "nats.tls.caFile=\nnats.tls.certFile=\nnats.tls.host=\nnats.tls.keyFile=\nnats.tls.secretName=\n:6\n", result.out)
}
