package settings_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/settings"
)

type values struct {
	servers  []string
	interval time.Duration
	name     string
}

func flags(args ...string) (*pflag.FlagSet, *values) {
	var v values
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	set.StringSliceVar(&v.servers, "server", []string{"default"}, "")
	set.DurationVar(&v.interval, "heartbeat-interval", time.Second, "")
	set.StringVar(&v.name, "identity", "", "")
	_ = set.Parse(args)
	return set, &v
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "operator.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func env(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := pairs[name]; return v, ok }
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	t.Parallel()
	set, v := flags("--identity=flag")
	path := file(t, "server: [a, b]\nheartbeat-interval: 5s\nidentity: file\n")
	err := settings.Apply(set, "FLEET_OPERATOR", env(map[string]string{
		"FLEET_OPERATOR_HEARTBEAT_INTERVAL": "7s",
		"FLEET_OPERATOR_IDENTITY":           "env",
	}), path)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, v.servers)
	require.Equal(t, 7*time.Second, v.interval)
	require.Equal(t, "flag", v.name)
}

func TestApplyNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		text, want string
		env        map[string]string
	}{
		"unknown key": {"identity: a\nservr: b\n", `operator.yaml:2: unknown key "servr"`, nil},
		"bad value":   {"heartbeat-interval: soon\n", "operator.yaml:1: heartbeat-interval", nil},
		"bad env":     {"", "FLEET_OPERATOR_HEARTBEAT_INTERVAL", map[string]string{"FLEET_OPERATOR_HEARTBEAT_INTERVAL": "soon"}},
		"twice":       {"identity: a\nidentity: b\n", `key "identity"`, nil},
		"no mapping":  {"- a\n", "mapping", nil},
		"nested":      {"identity: {a: b}\n", "operator.yaml:1: identity", nil},
		"syntax":      {"identity: [\n", "operator.yaml", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, _ := flags()
			require.ErrorContains(t, settings.Apply(set, "FLEET_OPERATOR", env(c.env), file(t, c.text)), c.want)
		})
	}
}

func TestEmptyFileAndNoFile(t *testing.T) {
	t.Parallel()
	set, v := flags()
	require.NoError(t, settings.Apply(set, "X", env(nil), file(t, "")))
	require.NoError(t, settings.Apply(set, "X", env(nil), ""))
	require.Equal(t, []string{"default"}, v.servers)
	require.ErrorContains(t, settings.Apply(set, "X", env(nil), "/does/not/exist"), "/does/not/exist")
}
