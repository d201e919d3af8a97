package podman

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	open := func() *stateFile {
		state, err := openState(t.Context(), dir, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		return state
	}
	open().edit(t.Context(), func(rec *record) {
		rec.deployment("web").Generation = 7
		rec.Pulled["id"] = []string{"ref"}
	})
	assert.EqualValues(t, 7, open().generation("web"))
	file := filepath.Join(dir, "containers.json")
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode().Perm())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing is left of writing")

	for _, damaged := range []string{"", "{", "[]", `{"deployments":{"web":null}}`, `{"deployments":{"web":{}}}`} {
		require.NoError(t, os.WriteFile(file, []byte(damaged), 0o600))
		state := open()
		assert.Zero(t, state.generation("web"))
		state.edit(t.Context(), func(rec *record) { rec.deployment("web").Services["a"] = serviceRecord{Restarts: 1} })
		assert.EqualValues(t, 1, open().service("web", "a").Restarts)
	}
}
