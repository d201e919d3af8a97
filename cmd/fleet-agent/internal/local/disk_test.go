package local_test

import (
	"crypto/ed25519"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/local"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
}

func identity() agent.Identity {
	public, _ := key(1).Public().(ed25519.PublicKey)
	return agent.Identity{Device: "pi-1", TrustedKeys: []ed25519.PublicKey{public}}
}

// envelope is a signed desired state with the deployments api and web.
func envelope(t *testing.T, device contracts.DeviceID, signer ed25519.PrivateKey) []byte {
	t.Helper()
	score := contracts.ReconcileScore{Type: contracts.ScoreProcessV0, Data: []byte(`{}`)}
	document, err := contracts.Encode(contracts.DesiredState{
		Device: device, Generation: 4, HeartbeatInterval: contracts.DefaultHeartbeatInterval,
		Deployments: []contracts.DesiredDeployment{{Name: "api", Generation: 1, Score: score}, {Name: "web", Generation: 2, Score: score}},
	})
	require.NoError(t, err)
	return contracts.Sign(document, signer)
}

// The files are found where the agent's own store puts them.
func TestFromDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := agent.OpenDirStore(dir, nil)
	require.NoError(t, err)
	require.Zero(t, local.FromDisk(dir, identity()).DesiredGeneration)
	require.NoError(t, store.SaveDesired(envelope(t, "pi-1", key(1))))
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, store.SaveReport(contracts.DeviceReport{Sequence: 1, Deployments: []contracts.DeploymentReport{
		{Name: "web", Generation: 1, Phase: contracts.PhaseRunning, Since: since},
	}}))
	status := local.FromDisk(dir, identity())
	require.False(t, status.Running)
	require.Equal(t, uint64(4), status.DesiredGeneration)
	require.Empty(t, status.DesiredProblem)
	require.Equal(t, []local.Deployment{
		{Name: "api", Generation: 1},
		{Name: "web", Generation: 2, Phase: contracts.PhaseRunning, Since: since},
	}, status.Deployments)
}

func TestReadDesiredTrustsNobodyElse(t *testing.T) {
	t.Parallel()
	changed := strings.Replace(string(envelope(t, "pi-1", key(1))), `"generation":4`, `"generation":5`, 1)
	for name, c := range map[string]struct {
		data []byte
		want error
		text string
	}{
		"unknown key":  {envelope(t, "pi-1", key(2)), contracts.ErrUnknownKey, "key"},
		"changed":      {[]byte(changed), contracts.ErrBadSignature, "signature"},
		"other device": {envelope(t, "pi-2", key(1)), nil, `for device "pi-2"`},
		"cut off":      {[]byte(`{"document":{`), nil, "desired-state.json"},
		"empty":        {nil, nil, "desired-state.json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "desired-state.json")
			require.NoError(t, os.WriteFile(path, c.data, 0o600))
			_, err := local.ReadDesired(dir, identity())
			require.ErrorContains(t, err, c.text)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.NotEmpty(t, local.FromDisk(dir, identity()).DesiredProblem)
			require.FileExists(t, path, "looking changes nothing")
		})
	}
	_, err := local.ReadDesired(t.TempDir(), identity())
	require.ErrorIs(t, err, fs.ErrNotExist)
}
