package podman

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

func TestKillSessionSparesWhatIsNotTheContainers(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, killSession(os.Getpid(), strings.Repeat("ab", 32)), domain.ErrUnavailable)
}

// TestSessionOf asks for a session that it made. The session of the test
// itself has the number 0 when its leader is outside of the PID namespace.
func TestSessionOf(t *testing.T) {
	t.Parallel()
	leader := exec.Command("cat")
	leader.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	hold, err := leader.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, leader.Start())
	t.Cleanup(func() {
		require.NoError(t, hold.Close())
		require.NoError(t, leader.Wait())
	})
	require.Equal(t, leader.Process.Pid, sessionOf(leader.Process.Pid))
	require.Zero(t, sessionOf(1<<30))
}
