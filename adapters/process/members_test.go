package process

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestANumberThatWasGivenAwayIsNobodysSession asks for the session of a leader
// of its own: with its start time it is found, with that of another one it is
// not. The session that the tests run in can be anything, 0 in a container say.
func TestANumberThatWasGivenAwayIsNobodysSession(t *testing.T) {
	t.Parallel()
	leader := exec.Command("cat") // until its input ends
	leader.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	input, err := leader.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, leader.Start())
	t.Cleanup(func() { _ = input.Close(); _ = leader.Wait() })
	now, err := readStat(leader.Process.Pid)
	require.NoError(t, err)
	runtime, err := New(t.TempDir(), Options{})
	require.NoError(t, err)
	s := runtime.newService("web", "web")

	found := s.members(identity{PID: now.pid, Start: now.start})
	require.Len(t, found, 1)
	require.Equal(t, now.pid, found[0].pid)
	require.Empty(t, s.members(identity{PID: now.pid, Start: now.start + 1}))
	require.Empty(t, s.members(identity{}))
}
