package progressbar_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/progressbar"
)

func TestLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "[..............................] 0/10              ", progressbar.Line(0, 10, 0))
	require.Equal(t, "[###############...............] 5/10, 4s left     ", progressbar.Line(5, 10, 4*time.Second))
	require.Equal(t, "[##############################] 10/10              ", progressbar.Line(10, 10, time.Minute))
}

func TestNothingIsDrawnIntoAFile(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	bar := progressbar.New(&out, 3)
	bar.Set(1)
	bar.Set(3)
	bar.End()
	require.Empty(t, out.String())
}
