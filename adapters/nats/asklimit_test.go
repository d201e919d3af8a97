package nats

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAskLimitDropsTheFloodOfOneDeviceAlone(t *testing.T) {
	t.Parallel()
	now := time.Now()
	limit := askLimit{asked: map[string]int{}}
	allowed := 0
	for range 1000 {
		if limit.allows("fleet.sync.hostile", now) {
			allowed++
		}
	}
	require.Equal(t, asksPerSecond, allowed)
	require.True(t, limit.allows("fleet.sync.honest", now))
	require.True(t, limit.allows("fleet.sync.hostile", now.Add(time.Second)), "a second later it may ask again")
	require.Len(t, limit.asked, 1, "what was asked before is forgotten")
}
