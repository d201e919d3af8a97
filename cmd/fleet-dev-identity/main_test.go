package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/domain"
)

// start runs the program until the returned function is called.
func start(t *testing.T, args ...string) (description, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		ended <- run(ctx, append(args, "-o", "json"), writer, &stderr)
		_ = writer.Close() // a pipe's never fails
	}()
	var described description
	require.NoError(t, json.NewDecoder(reader).Decode(&described))
	stop := func() {
		cancel()
		require.Zero(t, <-ended, stderr.String())
	}
	return described, stop
}

// The operator that is set up can use what was printed, before and after a restart.
func TestProviderServesAFleet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "identity")
	first, stop := start(t, "--dir", dir, "--listen", "127.0.0.1:0")
	for _, file := range []string{first.AdminTokenFile, first.OperatorKeyFile} {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	useAsOperator(t, first)
	key, err := os.ReadFile(first.OperatorKeyFile)
	require.NoError(t, err)
	stop()

	again, stop := start(t, "--dir", dir, "--listen", first.Issuer[len("http://"):])
	defer stop()
	require.Equal(t, first, again)
	kept, err := os.ReadFile(first.OperatorKeyFile)
	require.NoError(t, err)
	require.Equal(t, key, kept)
	useAsOperator(t, again)
}

func useAsOperator(t *testing.T, d description) {
	t.Helper()
	data, err := os.ReadFile(d.OperatorKeyFile)
	require.NoError(t, err)
	key, err := zitadel.ParseServiceKey(data)
	require.NoError(t, err)
	prefix := verifier.DevicePrefix(d.DevicePrefix)
	provider, err := zitadel.New(t.Context(), zitadel.Config{
		Issuer: d.Issuer, OrganizationID: d.OrganizationID, ProjectID: d.ProjectID, DevicePrefix: prefix, Key: key,
	}, zitadel.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, provider.Close()) }()
	require.ErrorIs(t, provider.Revoke(t.Context(), "pi-1"), domain.ErrNotFound)
	token, err := provider.Token(t.Context())
	require.NoError(t, err)
	v, err := verifier.New(verifier.Config{Issuer: d.Issuer, ProjectID: d.ProjectID, DevicePrefix: prefix}, verifier.Options{})
	require.NoError(t, err)
	principal, err := v.Verify(t.Context(), token.Value)
	require.NoError(t, err)
	require.Equal(t, []domain.Role{domain.RoleOperator}, principal.Roles)
}

func TestWrongCalls(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		says string
		args []string
	}{
		{"--dir is missing", nil},
		{"loopback", []string{"--dir", dir, "--listen", "0.0.0.0:0"}},
		{"loopback", []string{"--dir", dir, "--listen", "192.0.2.1:1"}},
		{"loopback", []string{"--dir", dir, "--listen", ":8085"}},
		{"not an address", []string{"--dir", dir, "--listen", "127.0.0.1"}},
		{"prefix", []string{"--dir", dir, "--prefix", "Fleet"}},
		{"neither text nor json", []string{"--dir", dir, "-o", "yaml"}},
		{"less than a second", []string{"--dir", dir, "--token-lifetime", "0"}},
		{"not understood", []string{"--dir", dir, "extra"}},
	} {
		var stderr bytes.Buffer
		require.Equal(t, 2, run(t.Context(), c.args, io.Discard, &stderr))
		require.Contains(t, stderr.String(), c.says)
	}
	var stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--help"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "Examples:")
}
