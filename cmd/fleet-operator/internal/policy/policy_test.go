package policy_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/policy"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestPolicyFollowsItsFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "serials")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write("1001\n")
	var log bytes.Buffer
	p, err := policy.Open(policy.Files{Serials: path, Labels: []string{"site=paris,ring=1"}}, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	approves := func(serial string, labels contracts.Labels) bool {
		approved, why := p.Rules().Decide(domain.EnrollmentIntent{Device: "pi-1", Labels: labels}, contracts.Inventory{Serial: serial})
		require.NotEmpty(t, why)
		return approved
	}
	require.True(t, approves("1001", nil))
	require.False(t, approves("1002", nil))
	require.False(t, approves("", contracts.Labels{"site": "paris"}))
	require.True(t, approves("", contracts.Labels{"site": "paris", "ring": "1"}))

	write("1001\n1002\n")
	require.True(t, approves("1002", nil))
	write("1001 1002 1003 1004\n")
	require.True(t, approves("1002", nil), "what was good before holds")
	require.Contains(t, log.String(), "line 1")
	require.NoError(t, os.Remove(path))
	require.True(t, approves("1002", nil))
}

func TestPolicyIsChecked(t *testing.T) {
	t.Parallel()
	for _, files := range []policy.Files{
		{Serials: filepath.Join(t.TempDir(), "none")},
		{MachineIDs: filepath.Join(t.TempDir(), "none")},
		{Labels: []string{"site"}},
		{Labels: []string{"no key=1"}},
	} {
		_, err := policy.Open(files, slog.New(slog.DiscardHandler))
		require.Error(t, err)
	}
}
