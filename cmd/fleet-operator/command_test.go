package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/operator"
)

// execute runs the command and returns what it printed and its exit code.
func execute(t *testing.T, env map[string]string, args ...string) (string, int, error) {
	t.Helper()
	var out bytes.Buffer
	command := newCommand("v1.2.3", func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	command.SetArgs(args)
	command.SetOut(&out)
	command.SetErr(&out)
	err := command.ExecuteContext(t.Context())
	if err == nil {
		return out.String(), 0, nil
	}
	return out.String(), exitCode(err), err
}

func TestKeygenPrintsThePublicKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "signing.pem")
	out, code, err := execute(t, nil, "keygen", path)
	require.NoError(t, err)
	require.Zero(t, code)
	_, err = contracts.ParsePublicKey(string(bytes.TrimSpace([]byte(out))))
	require.NoError(t, err)
	again, _, err := execute(t, nil, "pubkey", path)
	require.NoError(t, err)
	require.Equal(t, out, again)
}

func TestMistakesSayWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "operator.yaml")
	require.NoError(t, os.WriteFile(file, []byte("servr: x\n"), 0o600))
	cases := map[string]struct {
		args []string
		env  map[string]string
		code int
		want string
	}{
		"no key":           {[]string{"run"}, nil, 1, "keygen"},
		"missing key file": {[]string{"run", "--signing-key-file", filepath.Join(dir, "none")}, nil, 1, "keygen"},
		"unknown flag":     {[]string{"run", "--colour"}, nil, 2, "--help"},
		"unknown argument": {[]string{"run", "now"}, nil, 2, "--help"},
		"keygen without":   {[]string{"keygen"}, nil, 2, "--help"},
		"unknown key":      {[]string{"run", "--config", file}, nil, 1, `unknown key "servr"`},
		"file by env":      {[]string{"run"}, map[string]string{"FLEET_OPERATOR_CONFIG": file}, 1, `unknown key "servr"`},
		"bad env":          {[]string{"run"}, map[string]string{"FLEET_OPERATOR_LEASE_TTL": "x"}, 1, "FLEET_OPERATOR_LEASE_TTL"},
		"bad level":        {[]string{"run", "--signing-key-file", "x", "--log-level", "loud"}, nil, 1, "--log-level"},
		"bad interval":     {[]string{"run", "--signing-key-file", "x", "--heartbeat-interval", "1ms"}, nil, 1, "--heartbeat-interval"},
		"no rate":          {[]string{"run", "--signing-key-file", "x", "--kubernetes=f", "--kube-qps", "NaN"}, nil, 1, "--kube-qps"},
		"namespace of nothing": {
			[]string{"run", "--signing-key-file", "x", "--namespace", "fleet"}, nil, 2, "--namespace does nothing without --kubernetes",
		},
		"rate of nothing": {[]string{"run", "--signing-key-file", "x", "--kube-qps", "50"}, nil, 2, "--kube-qps does nothing without --kubernetes"},
		"selector of nothing, by env": {
			[]string{"run", "--signing-key-file", "x"}, map[string]string{"FLEET_OPERATOR_REFLECT_DEVICES": "all"}, 2, "--reflect-devices does nothing without --kubernetes",
		},
		"metrics of nothing": {
			[]string{"run", "--signing-key-file", "x", "--metrics-address", ":0"}, nil, 2, "--metrics-address does nothing without --kubernetes",
		},
		"kubernetes without =": {
			[]string{"run", "--signing-key-file", "x", "--kubernetes", "k.yaml"}, nil, 2, "write --kubernetes=k.yaml",
		},
		"kubernetes and a word": {[]string{"run", "--kubernetes=k.yaml", "now"}, nil, 2, "0 arguments expected"},
		"half a user":           {[]string{"run", "--signing-key-file", "x", "--user", "u"}, nil, 1, "--password-file"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, code, err := execute(t, c.env, c.args...)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.code, code)
		})
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		prepared bool
		phase    operator.Phase
		ready    bool
		word     string
	}{
		{false, operator.PhaseStandby, false, "Connecting"},
		{true, operator.PhaseStandby, true, "Standby"},
		{true, operator.PhaseRecovering, false, "Recovering"},
		{true, operator.PhaseConverged, true, "Converged"},
	} {
		ready, word := readiness(c.prepared, c.phase)
		require.Equal(t, c.ready, ready)
		require.Equal(t, c.word, word)
	}
}

func TestCalloutMistakesSayWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	complete := []string{
		"callout", "--callout-nkey-file", "a", "--system-nkey-file", "a", "--issuer-seed-file", "a", "--identity-issuer", "http://127.0.0.1:1",
		"--organization", "1", "--project", "2", "--device-prefix", "fleet-", "--service-key-file", filepath.Join(dir, "none"),
		"--signing-key", "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	}
	for name, c := range map[string]struct {
		flags []string
		want  string
	}{
		"no issuer seed":   {[]string{"--issuer-seed-file", ""}, "--issuer-seed-file is required"},
		"bad signing key":  {[]string{"--signing-key", "x"}, "--signing-key"},
		"short lifetime":   {[]string{"--key-lifetime", "1m"}, "--key-lifetime"},
		"no list":          {[]string{"--approve-serials", filepath.Join(dir, "none")}, "policy"},
		"bad rule":         {[]string{"--approve-labels", "site"}, "KEY=VALUE"},
		"no authority":     {[]string{"--device-ca-file", filepath.Join(dir, "none")}, "--device-ca-file"},
		"no seed":          {nil, "nkey seed file"},
		"two credentials":  {[]string{"--nkey-file", "a", "--user", "b", "--password-file", "c"}, "choose one"},
		"unknown argument": {[]string{"now"}, "--help"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := execute(t, nil, append(slices.Clone(complete), c.flags...)...)
			require.ErrorContains(t, err, c.want)
		})
	}
}
