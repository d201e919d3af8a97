package conformance

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeploymentStatusStoreFixture is an empty store.
type DeploymentStatusStoreFixture struct {
	Store domain.DeploymentStatusStore
	// Second is another client of the same backend.
	Second domain.DeploymentStatusStore
	// Restart stops the backend and starts it again with its durable data. Calls
	// may give ErrUnavailable for a while after it returned.
	Restart func(t *testing.T)
	// Stored returns what is stored as the status, past the store.
	Stored func(t *testing.T, name contracts.DeploymentName) []byte
}

// DeploymentStatusStore checks an implementation of
// domain.DeploymentStatusStore.
func DeploymentStatusStore(t *testing.T, open func(t *testing.T) DeploymentStatusStoreFixture) {
	t.Helper()
	restart := named("Restart", func(_ *testing.T, f DeploymentStatusStoreFixture) bool { return f.Restart != nil })
	stored := named("Stored", func(_ *testing.T, f DeploymentStatusStoreFixture) bool { return f.Stored != nil })
	checkAll(t, open, append([]obligation[DeploymentStatusStoreFixture]{
		{name: "put, then get", check: statusPut},
		{name: "unknown status is not found", check: statusUnknown},
		{name: "put replaces", check: statusReplaced},
		{name: "delete, then put again", check: statusDeleted},
		{name: "delete of nothing", check: statusDeletedNothing},
		{name: "values are copies", check: statusCopied},
		{name: "data is there after a restart", check: statusRestart, needs: restart},
		{name: "stored form", check: statusStored, needs: stored},
	}, watchObligations(watchedStatuses)...))
}

func watchedStatuses(f DeploymentStatusStoreFixture) watched[contracts.DeploymentName, contracts.DeploymentStatus] {
	return watched[contracts.DeploymentName, contracts.DeploymentStatus]{
		put: func(t *testing.T, name contracts.DeploymentName, n int) {
			untilReachable(t, func() error {
				return f.Store.Put(t.Context(), name, contracts.DeploymentStatus{Matched: n, Running: n})
			})
		},
		remove: func(t *testing.T, name contracts.DeploymentName) {
			require.NoError(t, f.Store.Delete(t.Context(), name))
		},
		number:  func(s contracts.DeploymentStatus) int { return s.Matched },
		watch:   f.Store.Watch,
		second:  f.Second.Watch,
		restart: f.Restart,
	}
}

func sampleStatus() contracts.DeploymentStatus {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return contracts.DeploymentStatus{
		ObservedGeneration: 4,
		Matched:            10, Updated: 9, Pending: 1, Running: 7, Degraded: 1, Failed: 1, Offline: 2,
		Conditions: []contracts.Condition{{
			Type: contracts.ConditionAvailable, Status: contracts.ConditionFalse,
			Reason: "DevicesFailed", Message: "1 of 10 devices has failed", LastTransitionTime: at,
		}},
		Problems: []contracts.Problem{{
			Device: "pi-1", Phase: contracts.PhaseFailed, Reason: contracts.ReasonCrashLoop, Message: "service web ends again and again",
		}},
		UpdatedAt: at,
	}
}

func statusPut(t *testing.T, f DeploymentStatusStoreFixture) {
	require.NoError(t, f.Store.Put(t.Context(), "web", sampleStatus()))
	for _, client := range []domain.DeploymentStatusStore{f.Store, f.Second} {
		got, err := client.Get(t.Context(), "web")
		require.NoError(t, err)
		require.Equal(t, sampleStatus(), got)
	}
}

func statusUnknown(t *testing.T, f DeploymentStatusStoreFixture) {
	_, err := f.Store.Get(t.Context(), "web")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

func statusReplaced(t *testing.T, f DeploymentStatusStoreFixture) {
	require.NoError(t, f.Store.Put(t.Context(), "web", sampleStatus()))
	require.NoError(t, f.Second.Put(t.Context(), "web", contracts.DeploymentStatus{Matched: 1, Pending: 1}))
	got, err := f.Store.Get(t.Context(), "web")
	require.NoError(t, err)
	require.Equal(t, contracts.DeploymentStatus{Matched: 1, Pending: 1}, got)
}

func statusDeleted(t *testing.T, f DeploymentStatusStoreFixture) {
	require.NoError(t, f.Store.Put(t.Context(), "web", sampleStatus()))
	require.NoError(t, f.Second.Delete(t.Context(), "web"))
	_, err := f.Store.Get(t.Context(), "web")
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.NoError(t, f.Store.Put(t.Context(), "web", sampleStatus()))
	got, err := f.Second.Get(t.Context(), "web")
	require.NoError(t, err)
	require.Equal(t, sampleStatus(), got)
}

func statusDeletedNothing(t *testing.T, f DeploymentStatusStoreFixture) {
	require.NoError(t, f.Store.Delete(t.Context(), "web"))
	require.NoError(t, f.Store.Put(t.Context(), "web", sampleStatus()))
	require.NoError(t, f.Store.Delete(t.Context(), "web"))
	require.NoError(t, f.Store.Delete(t.Context(), "web"))
}

func statusCopied(t *testing.T, f DeploymentStatusStoreFixture) {
	given := sampleStatus()
	require.NoError(t, f.Store.Put(t.Context(), "web", given))
	given.Problems[0].Device = "changed"
	got, err := f.Store.Get(t.Context(), "web")
	require.NoError(t, err)
	got.Conditions[0].Reason = "changed"
	got, err = f.Store.Get(t.Context(), "web")
	require.NoError(t, err)
	require.Equal(t, sampleStatus(), got)
}

func statusRestart(t *testing.T, f DeploymentStatusStoreFixture) {
	require.NoError(t, f.Store.Put(t.Context(), "web", sampleStatus()))
	f.Restart(t)
	var got contracts.DeploymentStatus
	untilReachable(t, func() (err error) {
		got, err = f.Store.Get(t.Context(), "web")
		return err
	})
	require.Equal(t, sampleStatus(), got)
}

func statusStored(t *testing.T, f DeploymentStatusStoreFixture) {
	require.NoError(t, f.Store.Put(t.Context(), "web", sampleStatus()))
	want, err := contracts.Encode(sampleStatus())
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(f.Stored(t, "web")))
}
