package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
	"github.com/nationtech/harmony-fleet/contracts"
)

// realFleet starts a broker with the fleet's streams. It returns its URL and
// the seed files of the operator and of the device a.
func realFleet(t *testing.T) (url, operator, device string) {
	t.Helper()
	dir := t.TempDir()
	operator, device = filepath.Join(dir, "operator.nk"), filepath.Join(dir, "device.nk")
	operatorKey, err := devserver.UserKey(operator)
	require.NoError(t, err)
	deviceKey, err := devserver.UserKey(device)
	require.NoError(t, err)
	server, err := devserver.New(devserver.Options{
		StoreDir: filepath.Join(dir, "store"), Operator: operatorKey,
		Devices: map[contracts.DeviceID]string{"a": deviceKey},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-served)
	})
	conn, err := nats.Connect(t.Context(), nats.Config{Servers: []string{server.URL()}, Credential: nats.SeedFile(operator), FailFast: true})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, nats.Setup(t.Context(), conn, nats.SetupOptions{}))
	return server.URL(), operator, device
}

func TestARealBroker(t *testing.T) {
	url, operator, device := realFleet(t)
	t.Setenv("HOME", t.TempDir())
	fleet := func(nkey, command string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		args := append([]string{"--server", url, "--nkey", nkey}, strings.Fields(command)...)
		code := run(t.Context(), args, nil, &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	for _, step := range []struct{ command, want string }{
		{"apply -f ../../examples/hello.yaml", "deployment/hello created\n"},
		{"apply -f ../../examples/hello-v2.yaml", "deployment/hello configured\n"},
		{"get deployments -o name", "deployment/hello\n"},
		{"rollout undo hello", "deployment/hello rolled back to generation 1, as generation 3\n"},
		{"get devices -o json", "{\n  \"items\": []\n}\n"},
		{"get events", "LAST-SEEN   KIND   OBJECT   REASON   MESSAGE\n"},
		{"delete deployment hello", "deployment/hello deleted\ndeployment/hello removed from all devices that are online\n"},
	} {
		code, stdout, stderr := fleet(operator, step.command)
		assert.Zero(t, code, stderr)
		assert.Equal(t, step.want, stdout)
	}

	code, _, stderr := fleet(operator, "ping a")
	assert.Equal(t, 1, code, "no device answers")
	assert.Contains(t, stderr, "1 of 1 ping unanswered")

	code, _, stderr = fleet(device, "get devices --request-timeout 1s")
	assert.Equal(t, 1, code)
	assert.Contains(t, strings.ToLower(stderr), "permissions violation")

	stranger := filepath.Join(t.TempDir(), "stranger.nk")
	_, err := devserver.UserKey(stranger)
	require.NoError(t, err)
	code, _, stderr = fleet(stranger, "get devices")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "refused the credential")
}
