package process

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestANumberThatWasGivenAwayIsNobodysSession asks for the session of this very
// process: with its start time it is found, with that of another one it is not.
func TestANumberThatWasGivenAwayIsNobodysSession(t *testing.T) {
	t.Parallel()
	own, err := readStat(os.Getpid())
	require.NoError(t, err)
	leader, err := readStat(own.session)
	if err != nil {
		leader = stat{pid: own.session}
	}
	runtime, err := New(t.TempDir(), Options{})
	require.NoError(t, err)
	s := runtime.newService("web", "web")

	require.NotEmpty(t, s.members(identity{PID: leader.pid, Start: leader.start}))
	if leader.start != 0 {
		require.Empty(t, s.members(identity{PID: leader.pid, Start: leader.start + 1}))
	}
	require.Empty(t, s.members(identity{}))
}
