package dev

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMembersAreSpreadOverTheSites(t *testing.T) {
	t.Parallel()
	all, err := members(4, []string{"paris", "lyon", "nice"})
	require.NoError(t, err)
	require.Equal(t, []member{{"paris-01", "paris"}, {"lyon-01", "lyon"}, {"nice-01", "nice"}, {"paris-02", "paris"}}, all)
	for name, sites := range map[string][]string{"twice": {"paris", "paris"}, "no site": nil, "bad name": {"Ä"}, "empty name": {""}} {
		_, err := members(2, sites)
		require.Error(t, err, name)
	}
}

func TestOneFleetForADirectory(t *testing.T) {
	t.Parallel()
	l := layout{root: t.TempDir()}
	unlock, err := l.lock()
	require.NoError(t, err)
	_, err = l.lock()
	require.ErrorContains(t, err, "in use by another fleet dev")
	require.NoError(t, unlock())
	unlock, err = l.lock()
	require.NoError(t, err)
	require.NoError(t, unlock())
}
