package roster_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/roster"
	"github.com/nationtech/harmony-fleet/contracts"
)

func TestRead(t *testing.T) {
	t.Parallel()
	rows, err := roster.Read(strings.NewReader("\ufeffsite,device,example.com/rack\nparis, pi-1 ,7\n\n,pi-2,\n"), contracts.Labels{"ring": "1", "site": "none"})
	require.NoError(t, err)
	require.Equal(t, []roster.Row{
		{Device: "pi-1", Labels: contracts.Labels{"ring": "1", "site": "paris", "example.com/rack": "7"}, Line: 2},
		{Device: "pi-2", Labels: contracts.Labels{"ring": "1", "site": "none"}, Line: 4},
	}, rows)
}

func TestReadNamesTheLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "empty"},
		"no device column": {"name,site\n", `"device"`},
		"no rows":          {"device\n", "names no device"},
		"twice":            {"device\npi-1\npi-1\n", "line 3"},
		"bad name":         {"device\nNo Name\n", "line 2"},
		"bad label":        {"device,site\npi-1,no value\n", "line 2"},
		"bad key":          {"device,no key\n", "line 1"},
		"reported key":     {"device,device.fleet.nationtech.io/x\n", "line 1"},
		"column twice":     {"device,site,site\n", "twice"},
		"devices twice":    {"device,device\n", "twice"},
		"ragged":           {"device,site\npi-1\n", "line 2"},
		"quote":            {"device\n\"pi-1\n", "line"},
		"many mistakes":    {"device\n" + strings.Repeat("No Name\n", 50), "line 11"},
	} {
		_, err := roster.Read(strings.NewReader(c.text), nil)
		require.ErrorContains(t, err, c.want, name)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"", "device\npi-1\n", "site,device\nparis,pi-1", "device,a\n\"x\ny\",b", "\xff\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := roster.Read(strings.NewReader(text), nil)
		if err != nil {
			return
		}
		for _, row := range rows {
			require.NoError(t, row.Device.Validate())
			require.NoError(t, contracts.CheckPeoplesLabels(row.Labels))
		}
	})
}

func newToken(t *testing.T, device contracts.DeviceID, lifetime time.Duration) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	token, err := contracts.NewEnrollmentToken(device, time.Now().Add(lifetime)).Sign(key)
	require.NoError(t, err)
	return token
}

func TestResultsSurviveAnInterruption(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.csv")
	results, err := roster.OpenResults(path)
	require.NoError(t, err)
	one, two, old := newToken(t, "pi-1", time.Hour), newToken(t, "pi-2", time.Hour), newToken(t, "pi-3", 30*time.Second)
	require.NoError(t, results.Add([]string{newToken(t, "pi-1", time.Hour), one, old}))
	require.NoError(t, results.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteString("pi-9,fleet-enr")
	require.NoError(t, err)
	require.NoError(t, file.Close())

	results, err = roster.OpenResults(path)
	require.NoError(t, err)
	require.NoError(t, results.Add([]string{two}))
	require.NoError(t, results.Add(nil))
	require.NoError(t, results.Close())
	results, err = roster.OpenResults(path)
	require.NoError(t, err)
	require.Equal(t, one, results.Token("pi-1", time.Minute), "the last one counts")
	require.Equal(t, two, results.Token("pi-2", time.Minute))
	require.Empty(t, results.Token("pi-3", time.Minute), "about to expire")
	require.Empty(t, results.Token("pi-9", time.Minute), "an unfinished line is none")
	require.NoError(t, results.Close())
}

func TestResultsRefuse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	_, err := roster.OpenResults(write("open.csv", "", 0o644))
	require.ErrorContains(t, err, "chmod 600")
	_, err = roster.OpenResults(write("other.csv", "a,b\nSECRET,c\n", 0o600))
	require.ErrorContains(t, err, "first line")
	token := newToken(t, "pi-1", time.Hour)
	for i, line := range []string{"pi-2," + token + ",x", "pi-1,SECRET,x", "SECRET", `"SECRET`} {
		_, err = roster.OpenResults(write("bad"+string(rune('a'+i))+".csv", "device,token,expiresAt\n"+line+"\n", 0o600))
		require.ErrorContains(t, err, "line 2", line)
		require.NotContains(t, err.Error(), "SECRET")
		require.NotContains(t, err.Error(), token)
	}
}
