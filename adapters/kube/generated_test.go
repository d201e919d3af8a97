package kube_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The deep copies are checked through the CRDs: both come from the same types
// at the same time.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	t.Parallel()
	kubernetes.Get(t) // the generator is one of its programs
	fresh := t.TempDir()
	output, err := exec.CommandContext(t.Context(), "./generate", fresh).CombinedOutput()
	require.NoError(t, err, "%s", output)

	want, err := filepath.Glob(filepath.Join(fresh, "*"))
	require.NoError(t, err)
	got, err := filepath.Glob("crds/*")
	require.NoError(t, err)
	require.Len(t, got, len(want))
	require.NotEmpty(t, want)
	for _, path := range want {
		generated, err := os.ReadFile(path)
		require.NoError(t, err)
		stored, err := os.ReadFile(filepath.Join("crds", filepath.Base(path)))
		require.NoError(t, err)
		require.Equal(t, string(generated), string(stored), "%s is old: run make generate", filepath.Base(path))
	}
}
