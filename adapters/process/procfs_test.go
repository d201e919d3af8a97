package process

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseStat(t *testing.T) {
	tail := strings.Repeat(" 0", 13)
	found, err := parseStat(7, []byte("7 (a) b) (c) S 1 5 6"+" 0"+tail[2:]+" 3 0 4711 0 0\n"))
	require.NoError(t, err)
	require.Equal(t, stat{pid: 7, state: 'S', group: 5, session: 6, threads: 3, start: 4711}, found)
	require.False(t, found.ended())

	for _, broken := range []string{"", "7 (a) S 1 2 3", "7 (a) S 1 x 6" + tail + " 3 0 4711"} {
		_, err := parseStat(7, []byte(broken))
		require.Error(t, err, broken)
	}
	require.True(t, stat{state: 'Z', threads: 1}.ended())
	require.False(t, stat{state: 'Z', threads: 2}.ended(), "only its main thread ended")
}
