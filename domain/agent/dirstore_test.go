package agent

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func testEnvelope(t *testing.T, generation uint64) []byte {
	t.Helper()
	key, _ := testKeys()
	return contracts.Sign(testDocument(t, "pi", generation), key)
}

func testReport(sequence uint64) contracts.DeviceReport {
	return contracts.DeviceReport{Sequence: sequence, Deployments: []contracts.DeploymentReport{
		{Name: "web", Generation: 1, Phase: contracts.PhaseRunning, Since: time.Unix(1_700_000_000, 0).UTC()},
	}}
}

func TestDirStoreKeepsWhatWasSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "agent")
	store, err := OpenDirStore(dir, nil)
	require.NoError(t, err)
	desired, err := store.LoadDesired()
	require.NoError(t, err)
	assert.Nil(t, desired)
	report, err := store.LoadReport()
	require.NoError(t, err)
	assert.Zero(t, report)

	require.NoError(t, store.SaveDesired(testEnvelope(t, 1)))
	require.NoError(t, store.SaveDesired(testEnvelope(t, 2)))
	require.NoError(t, store.SaveReport(testReport(7)))

	again, err := OpenDirStore(dir, nil)
	require.NoError(t, err)
	desired, err = again.LoadDesired()
	require.NoError(t, err)
	assert.Equal(t, testEnvelope(t, 2), desired)
	report, err = again.LoadReport()
	require.NoError(t, err)
	assert.Equal(t, testReport(7), report)
}

func TestDirStoreIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.Mkdir(dir, 0o755)) //nolint:gosec // the store makes it private
	store, err := OpenDirStore(dir, nil)
	require.NoError(t, err)
	require.NoError(t, store.SaveDesired(testEnvelope(t, 1)))
	require.NoError(t, store.SaveReport(testReport(7)))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	for _, name := range namesIn(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
}

func TestDirStoreSetsCorruptFilesAside(t *testing.T) {
	whole := testEnvelope(t, 1)
	for name, content := range map[string][]byte{
		"empty": {}, "truncated": whole[:len(whole)/2], "zeroes": make([]byte, 512), "too large": bytes.Repeat([]byte(" "), 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var log bytes.Buffer
			store, err := OpenDirStore(dir, slog.New(slog.NewTextHandler(&log, nil)))
			require.NoError(t, err)
			for _, file := range []string{desiredFile, reportFile} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), content, 0o600))
			}
			desired, err := store.LoadDesired()
			require.NoError(t, err)
			assert.Nil(t, desired)
			report, err := store.LoadReport()
			require.NoError(t, err)
			assert.Zero(t, report)
			assert.ElementsMatch(t, []string{desiredFile + corruptSuffix, reportFile + corruptSuffix}, namesIn(t, dir))
			assert.Contains(t, log.String(), desiredFile)
			assert.Contains(t, log.String(), reportFile)
			kept, err := os.ReadFile(filepath.Join(dir, desiredFile+corruptSuffix))
			require.NoError(t, err)
			assert.Equal(t, content, kept)

			require.NoError(t, store.SaveDesired(whole))
			desired, err = store.LoadDesired()
			require.NoError(t, err)
			assert.Equal(t, whole, desired)
		})
	}
}

func TestDirStoreThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := OpenDirStore(file, nil)
	require.ErrorIs(t, err, domain.ErrUnavailable)

	dir := t.TempDir()
	store, err := OpenDirStore(dir, nil)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, desiredFile), 0o700))
	_, err = store.LoadDesired()
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorIs(t, store.SaveReport(contracts.DeviceReport{Sequence: 1 << 60}), domain.ErrInvalid)
}

// TestDirStoreIsAtomic lets each step of a write fail in turn, with and without
// the chance to clean up, as an error and a power cut do.
func TestDirStoreIsAtomic(t *testing.T) {
	before, after := testEnvelope(t, 1), testEnvelope(t, 2)
	steps := []string{"create", "write", "sync", "close", "rename", "syncDir"}
	for _, step := range steps {
		for _, power := range []bool{true, false} {
			name := step + " fails"
			if !power {
				name = "power cut at " + step
			}
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				faulty := &faultyFiles{files: diskFiles{}}
				store, err := openDirStore(dir, nil, faulty)
				require.NoError(t, err)
				require.NoError(t, store.SaveDesired(before))

				faulty.step, faulty.dead = step, !power
				err = store.SaveDesired(after)
				require.ErrorIs(t, err, domain.ErrUnavailable)
				require.ErrorIs(t, err, errInjected)
				if power {
					assert.Equal(t, []string{desiredFile}, namesIn(t, dir), "nothing is left behind")
				}

				again, err := OpenDirStore(dir, nil)
				require.NoError(t, err)
				assert.Equal(t, []string{desiredFile}, namesIn(t, dir), "a new start cleans up")
				found, err := again.LoadDesired()
				require.NoError(t, err)
				want := before
				if step == "syncDir" {
					want = after
				}
				assert.Equal(t, want, found)
				require.NoError(t, again.SaveDesired(after))
			})
		}
	}
}

var errInjected = errors.New("injected")

// faultyFiles fails at one step, and from then on at every one when it is dead.
type faultyFiles struct {
	files
	step string
	dead bool
	hit  bool
}

func (f *faultyFiles) fail(step string) error {
	if step == f.step || f.dead && f.hit {
		f.hit = true
		return errInjected
	}
	return nil
}

func (f *faultyFiles) create(dir string) (file, error) {
	if err := f.fail("create"); err != nil {
		return nil, err
	}
	created, err := f.files.create(dir)
	return &faultyFile{file: created, files: f}, err
}

func (f *faultyFiles) rename(from, to string) error {
	if err := f.fail("rename"); err != nil {
		return err
	}
	return f.files.rename(from, to)
}

func (f *faultyFiles) syncDir(dir string) error {
	if err := f.fail("syncDir"); err != nil {
		return err
	}
	return f.files.syncDir(dir)
}

func (f *faultyFiles) remove(path string) error {
	if err := f.fail("remove"); err != nil {
		return err
	}
	return f.files.remove(path)
}

// faultyFile writes half of what it is given before it fails.
type faultyFile struct {
	file
	files *faultyFiles
}

func (f *faultyFile) Write(data []byte) (int, error) {
	if err := f.files.fail("write"); err != nil {
		n, _ := f.file.Write(data[:len(data)/2])
		return n, err
	}
	return f.file.Write(data)
}

func (f *faultyFile) Sync() error {
	if err := f.files.fail("sync"); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *faultyFile) Close() error {
	return errors.Join(f.files.fail("close"), f.file.Close())
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
