package host_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/host"
	"github.com/nationtech/harmony-fleet/deploy/host/hosttest"
	"github.com/nationtech/harmony-fleet/domain"
)

// files is a Score of resources on a host.
type files []deploy.Resource

func (files) Name() string                                               { return "files" }
func (f files) Resources(deploy.Shell) ([]deploy.Resource, error)        { return f, nil }
func (files) Smoke(context.Context, deploy.Shell, deploy.Progress) error { return nil }

func TestFile(t *testing.T) {
	shell := hosttest.Start(t).Host(t)
	path := filepath.Join(t.TempDir(), "made", "for it", "file")
	content := make([]byte, 1<<20)
	_, _ = rand.Read(content)
	file := &host.File{Shell: shell, Path: path, Content: content, Mode: 0o640}
	run := deploy.For(files{file})

	outcome, err := run.Apply(t.Context(), shell, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, deploy.ActionCreate, outcome.Steps[0].Change.Action)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o640, info.Mode())
	outcome, err = run.Apply(t.Context(), shell, deploy.Options{})
	require.NoError(t, err)
	require.Zero(t, outcome.Changed())

	for _, drift := range []struct {
		name string
		do   func() error
		says string
	}{
		{"content", func() error { return os.WriteFile(path, []byte("other"), 0o600) }, "change the content"},
		{"mode", func() error { return os.Chmod(path, 0o644) }, "change the mode (644 instead of 640)"},
		{"owner", func() error { return os.Chown(path, 1, 0) }, "change the owner (1:0 instead of 0:0)"},
		{"link", func() error { return os.Rename(path, path+"2") }, "write 1048576 bytes, mode 640"},
		{"not a file", func() error { return replaceWithLink(path) }, "replace what is not a regular file"},
	} {
		require.NoError(t, drift.do(), drift.name)
		outcome, err = run.Apply(t.Context(), shell, deploy.Options{})
		require.NoError(t, err, drift.name)
		require.Equal(t, drift.says, outcome.Steps[0].Change.Summary)
	}

	outcome, err = run.Destroy(t.Context(), shell, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, 1, outcome.Changed())
	require.NoFileExists(t, path)
	outcome, err = run.Destroy(t.Context(), shell, deploy.Options{})
	require.NoError(t, err)
	require.Zero(t, outcome.Changed())
}

func replaceWithLink(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink("/etc/passwd", path)
}

func TestRefusedContentIsNotPutIntoPlace(t *testing.T) {
	hosttest.NeedRoot(t)
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	file := &host.File{Shell: host.Local{}, Path: path, Content: []byte("new"), Check: `echo "no good" >&2; grep -q old "$1"`}
	_, err := deploy.For(files{file}).Apply(t.Context(), deploy.Shell(host.Local{}), deploy.Options{})
	require.ErrorIs(t, err, domain.ErrInvalid)
	require.ErrorContains(t, err, "no good")
	onlyFile(t, path, "old")
}

// onlyFile proves that a directory holds this file and nothing half-written.
func onlyFile(t *testing.T, path, content string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, content, string(got))
}

func TestUploadThatIsCutOff(t *testing.T) {
	server := hosttest.Start(t)
	shell := server.Host(t)
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	content := bytes.Repeat([]byte("new content\n"), 1<<16)
	file := &host.File{Shell: shell, Path: path, Content: content}
	run := deploy.For(files{file})

	server.CutAfter(300_000)
	_, err := run.Apply(t.Context(), shell, deploy.Options{Attempts: 1})
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "run the same command again: it goes on where it stopped")
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(got), "the old one stays whole")

	server.CutAfter(300_000)
	var retried bool
	watch := deploy.Companion{Name: "watch", Observe: func(event deploy.Event) {
		if event.State == deploy.StateRetrying {
			retried = true
			server.CutAfter(-1)
		}
	}}
	_, err = run.Apply(t.Context(), shell, deploy.Options{Companions: []deploy.Companion{watch}})
	require.NoError(t, err)
	require.True(t, retried)
	onlyFile(t, path, string(content))
}

func TestDiskFull(t *testing.T) {
	shell := hosttest.Start(t).Host(t)
	small := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", small).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", small).Run()) })
	path := filepath.Join(small, "file")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	file := &host.File{Shell: shell, Path: path, Content: make([]byte, 1<<20)}
	_, err := deploy.For(files{file}).Apply(t.Context(), shell, deploy.Options{})
	require.ErrorContains(t, err, "no space left on the disk")
	require.ErrorContains(t, err, "next: make room on the host")
	onlyFile(t, path, "old")
}

func TestDirectory(t *testing.T) {
	hosttest.NeedRoot(t)
	path := filepath.Join(t.TempDir(), "a", "b")
	run := deploy.For(files{&host.Directory{Shell: host.Local{}, Path: path}})
	for _, changed := range []int{1, 0} {
		outcome, err := run.Apply(t.Context(), deploy.Shell(host.Local{}), deploy.Options{})
		require.NoError(t, err)
		require.Equal(t, changed, outcome.Changed())
	}
	require.NoError(t, os.Chmod(path, 0o755))
	outcome, err := run.Apply(t.Context(), deploy.Shell(host.Local{}), deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, "change mode and owner (755 0:0 instead of 700 0:0)", outcome.Steps[0].Change.Summary)
	require.NoError(t, os.WriteFile(filepath.Join(path, "file"), nil, 0o600))
	for _, changed := range []int{1, 0} {
		outcome, err := run.Destroy(t.Context(), deploy.Shell(host.Local{}), deploy.Options{})
		require.NoError(t, err)
		require.Equal(t, changed, outcome.Changed())
	}
	require.NoDirExists(t, path)
}
