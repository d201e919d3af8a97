package podman

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

func TestKillSessionSparesWhatIsNotTheContainers(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, killSession(os.Getpid(), strings.Repeat("ab", 32)), domain.ErrUnavailable)
	require.NotZero(t, sessionOf(os.Getpid()))
	require.Zero(t, sessionOf(1<<30))
}
