package dev

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy/local"
)

func TestTheBrokerOfAFleetWithIdentities(t *testing.T) {
	t.Parallel()
	f := &fleet{layout: layout{root: t.TempDir()}, options: Options{Host: defaultHost}}
	config, err := f.brokerConfig()
	require.NoError(t, err)
	require.NoError(t, config.Validate())
	require.Equal(t, -1, config.Port, "any free one")
	again, err := f.brokerConfig()
	require.NoError(t, err)
	require.Equal(t, config, again, "keys are made once")

	address, err := f.identityAddress()
	require.NoError(t, err)
	kept, err := f.identityAddress()
	require.NoError(t, err)
	require.Equal(t, address, kept)
}

func TestAFleetIsOfOneKind(t *testing.T) {
	t.Parallel()
	l := layout{root: t.TempDir()}
	require.NoError(t, l.checkAuth(true))
	require.NoError(t, l.checkAuth(false))
	f := &fleet{layout: l, options: Options{Host: defaultHost}}
	_, err := f.brokerConfig()
	require.NoError(t, err)
	require.NoError(t, l.checkAuth(true))
	require.ErrorContains(t, l.checkAuth(false), "was made with --auth")
	require.NoError(t, os.Remove(l.issuerNKey()))
	require.NoError(t, l.checkAuth(false))
	require.ErrorContains(t, l.checkAuth(true), "was made without --auth")
}

func TestTheConfigurationOfADeviceThatEnrollsNamesNoDevice(t *testing.T) {
	t.Parallel()
	d := deviceLayout{root: filepath.Join(t.TempDir(), "paris-01")}
	require.NoError(t, writeEnrollingConfig(member{id: "paris-01"}, d, "nats://127.0.0.1:4222", false))
	text, err := os.ReadFile(d.config())
	require.NoError(t, err)
	for _, absent := range []string{"device =", "signing_keys", "nkey_file"} {
		require.NotContains(t, string(text), absent)
	}
	require.Contains(t, string(text), `servers = ["nats://127.0.0.1:4222"]`)
	require.False(t, d.isEnrolled())
}

// TestAProgramThatFailsAtTheStart: the error names the program and what it said.
func TestAProgramThatFailsAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "fleet-dev-identity")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\necho first >&2\necho the port is taken >&2\nexit 3\n"), 0o700))
	f := &fleet{layout: layout{root: dir}, identity: program, options: Options{Auth: true, NoOperator: true, NoAgents: true}, out: io.Discard}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	machine := local.New(ctx)
	up := &bringUp{fleet: f, machine: machine}
	err := up.apply(ctx, f.stages()[0]...)
	require.NoError(t, up.takeDown(ctx))
	require.NoError(t, machine.Close())
	require.ErrorContains(t, err, program)
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "the port is taken")
	require.NotContains(t, err.Error(), "first")
}

func TestWhatTheIdentityProviderPrints(t *testing.T) {
	t.Parallel()
	printed := newFirstLine()
	line := `{"issuer":"http://127.0.0.1:1","organizationID":"1","projectID":"2","devicePrefix":"fleet-","operatorKeyFile":"key.json"}`
	for part := range strings.SplitAfterSeq(line+"\nmore\nand more\n", ",") {
		n, err := printed.Write([]byte(part))
		require.NoError(t, err)
		require.Len(t, part, n)
	}
	p, err := parseProvider(<-printed.line)
	require.NoError(t, err)
	require.Equal(t, provider{
		Issuer: "http://127.0.0.1:1", OrganizationID: "1", ProjectID: "2", DevicePrefix: "fleet-", OperatorKeyFile: "key.json",
	}, p)
	for _, bad := range []string{"", "ready", `{"issuer":"http://127.0.0.1:1"}`} {
		_, err := parseProvider([]byte(bad))
		require.ErrorContains(t, err, "fleet-dev-identity", bad)
	}
}
