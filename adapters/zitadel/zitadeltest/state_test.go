package zitadeltest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzState(f *testing.F) {
	fresh, err := newState()
	require.NoError(f, err)
	data, err := json.Marshal(fresh)
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte(`{"signingKey":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		decoded, err := decodeState(data)
		if err == nil {
			require.NotNil(t, decoded.signing)
		}
	})
}

func TestStateIsKeptForItsOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "identity")
	first, err := Start(Options{Dir: dir})
	require.NoError(t, err)
	first.Close()
	second, err := Start(Options{Dir: dir})
	require.NoError(t, err)
	defer second.Close()
	require.Equal(t, first.AdminToken(), second.AdminToken())
	info, err := os.Stat(filepath.Join(dir, stateFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, os.WriteFile(filepath.Join(dir, stateFile), []byte("{}"), 0o600))
	_, err = Start(Options{Dir: dir})
	require.ErrorContains(t, err, "remove the directory")
}
