package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeploymentStoreFixture is an empty store.
type DeploymentStoreFixture struct {
	Store domain.DeploymentStore
	// Second is another client of the same backend.
	Second domain.DeploymentStore
	// Restart stops the backend and starts it again with its durable data. Calls
	// may give ErrUnavailable for a while after it returned.
	Restart func(t *testing.T)
	// Stored returns what is stored about a deployment, past the store.
	Stored func(t *testing.T, name contracts.DeploymentName) []byte
}

// DeploymentStore checks an implementation of domain.DeploymentStore.
func DeploymentStore(t *testing.T, open func(t *testing.T) DeploymentStoreFixture) {
	t.Helper()
	restart := named("Restart", func(_ *testing.T, f DeploymentStoreFixture) bool { return f.Restart != nil })
	stored := named("Stored", func(_ *testing.T, f DeploymentStoreFixture) bool { return f.Stored != nil })
	checkAll(t, open, append([]obligation[DeploymentStoreFixture]{
		{name: "create, then get", check: deploymentCreated},
		{name: "unknown deployment is not found", check: deploymentUnknown},
		{name: "create twice", check: deploymentCreatedTwice},
		{name: "update counts the generation and keeps the creation time", check: deploymentUpdated},
		{name: "stale revision is a conflict", check: deploymentStale},
		{name: "generation goes on after a deletion", check: deploymentDeleted},
		{name: "history is oldest first", check: deploymentHistory},
		{name: "history is bounded and keeps the newest", check: deploymentHistoryBound},
		{name: "history leaves out what was before a deletion", check: deploymentHistoryDeleted},
		{name: "score of an unknown type is kept as it is", check: deploymentUnknownScore},
		{name: "values are copies", check: deploymentCopied},
		{name: "concurrent updates have one winner", check: deploymentRace},
		{name: "apply creates, configures and leaves unchanged", check: deploymentApply},
		{name: "concurrent applies all succeed", check: deploymentApplyRace},
		{name: "list", check: deploymentList},
		{name: "data is there after a restart", check: deploymentRestart, needs: restart},
		{name: "stored form", check: deploymentStored, needs: stored},
	}, watchObligations(watchedDeployments)...))
}

func watchedDeployments(f DeploymentStoreFixture) watched[contracts.DeploymentName, domain.FleetDeployment] {
	return watched[contracts.DeploymentName, domain.FleetDeployment]{
		put: func(t *testing.T, name contracts.DeploymentName, n int) {
			want := sampleDeployment(name, 1)
			want.Labels = contracts.Labels{"n": strconv.Itoa(n)}
			untilReachable(t, func() error {
				current, err := f.Store.Get(t.Context(), name)
				if errors.Is(err, domain.ErrNotFound) {
					_, err = f.Store.Create(t.Context(), want)
					return err
				}
				if err != nil {
					return err
				}
				want.Revision = current.Revision
				_, err = f.Store.Update(t.Context(), want)
				return err
			})
		},
		remove: func(t *testing.T, name contracts.DeploymentName) {
			current, err := f.Store.Get(t.Context(), name)
			require.NoError(t, err)
			require.NoError(t, f.Store.Delete(t.Context(), name, current.Revision))
		},
		number: func(d domain.FleetDeployment) int {
			n, err := strconv.Atoi(d.Labels["n"])
			if err != nil {
				return -1
			}
			return n
		},
		watch:   f.Store.Watch,
		second:  f.Second.Watch,
		restart: f.Restart,
	}
}

// sampleDeployment returns a valid deployment; variants have different specs.
func sampleDeployment(name contracts.DeploymentName, variant int) domain.FleetDeployment {
	return domain.FleetDeployment{
		Name:   name,
		Labels: contracts.Labels{"team": "core"},
		Origin: contracts.OriginCLI,
		Spec: contracts.DeploymentSpec{
			TargetSelector: &contracts.LabelSelector{
				MatchLabels: map[string]string{"site": "paris"},
				MatchExpressions: []contracts.SelectorRequirement{
					{Key: "tier", Operator: contracts.SelectorIn, Values: []string{"edge", "core"}},
				},
			},
			Score: contracts.ReconcileScore{
				Type: contracts.ScoreProcessV0,
				Data: json.RawMessage(fmt.Sprintf(`{"services":[{"name":"web","command":["sleep","%d"]}]}`, variant)),
			},
		},
		ChangeCause: "variant " + strconv.Itoa(variant),
	}
}

func createDeployment(t *testing.T, store domain.DeploymentStore, name contracts.DeploymentName, variant int) domain.FleetDeployment {
	t.Helper()
	created, err := store.Create(t.Context(), sampleDeployment(name, variant))
	require.NoError(t, err)
	return created
}

// requireSameDeployment compares deployments whose scores may be spaced and
// whose times may be held differently.
func requireSameDeployment(t *testing.T, want, got domain.FleetDeployment) {
	t.Helper()
	require.JSONEq(t, string(want.Spec.Score.Data), string(got.Spec.Score.Data))
	require.WithinDuration(t, want.CreatedAt, got.CreatedAt, 0)
	require.WithinDuration(t, want.UpdatedAt, got.UpdatedAt, 0)
	got.Spec.Score.Data, got.CreatedAt, got.UpdatedAt = want.Spec.Score.Data, want.CreatedAt, want.UpdatedAt
	require.Equal(t, want, got)
}

func deploymentCreated(t *testing.T, f DeploymentStoreFixture) {
	want := sampleDeployment("web", 1)
	created, err := f.Store.Create(t.Context(), want)
	require.NoError(t, err)
	require.NotZero(t, created.Revision)
	require.WithinDuration(t, time.Now(), created.CreatedAt, time.Minute)
	require.WithinDuration(t, created.CreatedAt, created.UpdatedAt, 0)
	want.Generation, want.Revision = 1, created.Revision
	want.CreatedAt, want.UpdatedAt = created.CreatedAt, created.UpdatedAt
	requireSameDeployment(t, want, created)
	for _, client := range []domain.DeploymentStore{f.Store, f.Second} {
		got, err := client.Get(t.Context(), "web")
		require.NoError(t, err)
		requireSameDeployment(t, want, got)
	}
}

func deploymentUnknown(t *testing.T, f DeploymentStoreFixture) {
	_, err := f.Store.Get(t.Context(), "web")
	require.ErrorIs(t, err, domain.ErrNotFound)
	unknown := sampleDeployment("web", 1)
	unknown.Revision = 1
	_, err = f.Store.Update(t.Context(), unknown)
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.ErrorIs(t, f.Store.Delete(t.Context(), "web", 1), domain.ErrNotFound)
	_, err = f.Store.History(t.Context(), "web")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

func deploymentCreatedTwice(t *testing.T, f DeploymentStoreFixture) {
	first := createDeployment(t, f.Store, "web", 1)
	for _, client := range []domain.DeploymentStore{f.Store, f.Second} {
		_, err := client.Create(t.Context(), sampleDeployment("web", 2))
		require.ErrorIs(t, err, domain.ErrAlreadyExists)
	}
	got, err := f.Store.Get(t.Context(), "web")
	require.NoError(t, err)
	requireSameDeployment(t, first, got)
}

func deploymentUpdated(t *testing.T, f DeploymentStoreFixture) {
	created := createDeployment(t, f.Store, "web", 1)
	next := sampleDeployment("web", 2)
	next.Revision = created.Revision
	updated, err := f.Second.Update(t.Context(), next)
	require.NoError(t, err)
	require.EqualValues(t, 2, updated.Generation)
	require.Greater(t, updated.Revision, created.Revision)
	require.WithinDuration(t, created.CreatedAt, updated.CreatedAt, 0)
	require.False(t, updated.UpdatedAt.Before(created.UpdatedAt))
	require.Equal(t, "variant 2", updated.ChangeCause)
	got, err := f.Store.Get(t.Context(), "web")
	require.NoError(t, err)
	requireSameDeployment(t, updated, got)

	updated.Generation = 77 // the store counts, not the caller
	third, err := f.Store.Update(t.Context(), updated)
	require.NoError(t, err)
	require.EqualValues(t, 3, third.Generation)
}

func deploymentStale(t *testing.T, f DeploymentStoreFixture) {
	old := createDeployment(t, f.Store, "web", 1)
	current, err := f.Second.Update(t.Context(), old)
	require.NoError(t, err)
	_, err = f.Store.Update(t.Context(), old)
	require.ErrorIs(t, err, domain.ErrConflict)
	require.ErrorIs(t, f.Store.Delete(t.Context(), "web", old.Revision), domain.ErrConflict)
	got, err := f.Store.Get(t.Context(), "web")
	require.NoError(t, err)
	requireSameDeployment(t, current, got)
}

func deploymentDeleted(t *testing.T, f DeploymentStoreFixture) {
	created := createDeployment(t, f.Store, "web", 1)
	updated, err := f.Store.Update(t.Context(), created)
	require.NoError(t, err)
	require.NoError(t, f.Second.Delete(t.Context(), "web", updated.Revision))
	_, err = f.Store.Get(t.Context(), "web")
	require.ErrorIs(t, err, domain.ErrNotFound)
	_, err = f.Store.Update(t.Context(), updated)
	require.ErrorIs(t, err, domain.ErrNotFound)
	if f.Restart != nil {
		f.Restart(t)
		untilReachable(t, func() error {
			_, err := domain.ListDeployments(t.Context(), f.Second)
			return err
		})
	}

	for generation := uint64(3); generation < 6; generation++ {
		again, err := f.Second.Create(t.Context(), sampleDeployment("web", 3))
		require.NoError(t, err)
		require.Equal(t, generation, again.Generation, "a generation must never mean two specs")
		_, err = f.Store.Update(t.Context(), updated)
		require.ErrorIs(t, err, domain.ErrConflict)
		require.NoError(t, f.Store.Delete(t.Context(), "web", again.Revision))
	}
}

func deploymentHistory(t *testing.T, f DeploymentStoreFixture) {
	current := createDeployment(t, f.Store, "web", 1)
	createDeployment(t, f.Store, "other", 9)
	for variant := 2; variant <= 3; variant++ {
		next := sampleDeployment("web", variant)
		next.Revision = current.Revision
		var err error
		current, err = f.Store.Update(t.Context(), next)
		require.NoError(t, err)
	}
	history, err := f.Second.History(t.Context(), "web")
	require.NoError(t, err)
	require.Len(t, history, 3)
	for i, d := range history {
		require.EqualValues(t, i+1, d.Generation)
		require.Equal(t, fmt.Sprintf("variant %d", i+1), d.ChangeCause)
		require.JSONEq(t, string(sampleDeployment("web", i+1).Spec.Score.Data), string(d.Spec.Score.Data))
		require.NotZero(t, d.Revision)
	}
	requireSameDeployment(t, current, history[2])
}

func deploymentHistoryBound(t *testing.T, f DeploymentStoreFixture) {
	const updates = contracts.DeploymentHistory + 5
	current := createDeployment(t, f.Store, "web", 1)
	for range updates {
		var err error
		current, err = f.Store.Update(t.Context(), current)
		require.NoError(t, err)
	}
	history, err := f.Store.History(t.Context(), "web")
	require.NoError(t, err)
	require.Len(t, history, contracts.DeploymentHistory)
	require.Equal(t, current.Generation, history[len(history)-1].Generation)
	require.Equal(t, current.Generation-contracts.DeploymentHistory+1, history[0].Generation)
}

func deploymentHistoryDeleted(t *testing.T, f DeploymentStoreFixture) {
	old := createDeployment(t, f.Store, "web", 1)
	require.NoError(t, f.Store.Delete(t.Context(), "web", old.Revision))
	_, err := f.Store.History(t.Context(), "web")
	require.ErrorIs(t, err, domain.ErrNotFound)
	again := createDeployment(t, f.Store, "web", 2)
	history, err := f.Store.History(t.Context(), "web")
	require.NoError(t, err)
	require.Len(t, history, 1)
	requireSameDeployment(t, again, history[0])
}

func deploymentUnknownScore(t *testing.T, f DeploymentStoreFixture) {
	want := sampleDeployment("web", 1)
	want.Spec.Score = contracts.ReconcileScore{Type: "FutureV9", Data: json.RawMessage(`{"any":[1,2,{"thing":true}]}`)}
	_, err := f.Store.Create(t.Context(), want)
	require.NoError(t, err)
	got, err := f.Store.Get(t.Context(), "web")
	require.NoError(t, err)
	require.Equal(t, want.Spec.Score.Type, got.Spec.Score.Type)
	require.JSONEq(t, string(want.Spec.Score.Data), string(got.Spec.Score.Data))
}

func deploymentCopied(t *testing.T, f DeploymentStoreFixture) {
	spoil := func(d domain.FleetDeployment) {
		d.Labels["team"] = "changed"
		d.Spec.TargetSelector.MatchLabels["site"] = "changed"
		d.Spec.TargetSelector.MatchExpressions[0].Values[0] = "changed"
		d.Spec.Score.Data[0] = '!'
	}
	given := sampleDeployment("web", 1)
	created, err := f.Store.Create(t.Context(), given)
	require.NoError(t, err)
	spoil(given)
	spoil(created)
	got, err := f.Store.Get(t.Context(), "web")
	require.NoError(t, err)
	spoil(got)
	history, err := f.Store.History(t.Context(), "web")
	require.NoError(t, err)
	require.Equal(t, sampleDeployment("web", 1).Spec, history[0].Spec)
	require.Equal(t, sampleDeployment("web", 1).Labels, history[0].Labels)
}

func deploymentRace(t *testing.T, f DeploymentStoreFixture) {
	const contenders = 8
	created := createDeployment(t, f.Store, "web", 1)
	errs := make([]error, contenders)
	var group sync.WaitGroup
	for i := range contenders {
		client := f.Store
		if i%2 == 1 {
			client = f.Second
		}
		group.Go(func() { _, errs[i] = client.Update(t.Context(), created) })
	}
	group.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, domain.ErrConflict)
	}
	require.Equal(t, 1, won)
	got, err := f.Store.Get(t.Context(), "web")
	require.NoError(t, err)
	require.EqualValues(t, 2, got.Generation)
}

func deploymentApply(t *testing.T, f DeploymentStoreFixture) {
	created, outcome, err := domain.ApplyDeployment(t.Context(), f.Store, sampleDeployment("web", 1))
	require.NoError(t, err)
	require.Equal(t, domain.OutcomeCreated, outcome)
	same, outcome, err := domain.ApplyDeployment(t.Context(), f.Second, sampleDeployment("web", 1))
	require.NoError(t, err)
	require.Equal(t, domain.OutcomeUnchanged, outcome)
	require.Equal(t, created.Revision, same.Revision)
	changed, outcome, err := domain.ApplyDeployment(t.Context(), f.Store, sampleDeployment("web", 2))
	require.NoError(t, err)
	require.Equal(t, domain.OutcomeConfigured, outcome)
	require.EqualValues(t, 2, changed.Generation)
	foreign := sampleDeployment("web", 3)
	foreign.Origin = contracts.OriginKubernetes
	_, _, err = domain.ApplyDeployment(t.Context(), f.Store, foreign)
	require.ErrorIs(t, err, domain.ErrConflict)
}

func deploymentApplyRace(t *testing.T, f DeploymentStoreFixture) {
	const contenders = 6
	var group sync.WaitGroup
	for i := range contenders {
		client := f.Store
		if i%2 == 1 {
			client = f.Second
		}
		group.Go(func() {
			_, _, err := domain.ApplyDeployment(t.Context(), client, sampleDeployment("web", i+1))
			assert.NoError(t, err)
		})
	}
	group.Wait()
	got, err := f.Store.Get(t.Context(), "web")
	require.NoError(t, err)
	require.EqualValues(t, contenders, got.Generation)
}

func deploymentList(t *testing.T, f DeploymentStoreFixture) {
	none, err := domain.ListDeployments(t.Context(), f.Store)
	require.NoError(t, err)
	require.Empty(t, none)
	createDeployment(t, f.Store, "a", 1)
	createDeployment(t, f.Store, "b", 1)
	gone := createDeployment(t, f.Store, "c", 1)
	require.NoError(t, f.Store.Delete(t.Context(), "c", gone.Revision))
	all, err := domain.ListDeployments(t.Context(), f.Second)
	require.NoError(t, err)
	names := make([]contracts.DeploymentName, len(all))
	for i, d := range all {
		names[i] = d.Name
		require.NotZero(t, d.Revision)
	}
	require.ElementsMatch(t, []contracts.DeploymentName{"a", "b"}, names)
}

func deploymentRestart(t *testing.T, f DeploymentStoreFixture) {
	created := createDeployment(t, f.Store, "web", 1)
	updated, err := f.Store.Update(t.Context(), created)
	require.NoError(t, err)
	f.Restart(t)
	var got domain.FleetDeployment
	untilReachable(t, func() error {
		got, err = f.Store.Get(t.Context(), "web")
		return err
	})
	requireSameDeployment(t, updated, got)
	var history []domain.FleetDeployment
	untilReachable(t, func() error {
		history, err = f.Store.History(t.Context(), "web")
		return err
	})
	require.Len(t, history, 2)
	untilReachable(t, func() error {
		got, err = f.Store.Update(t.Context(), updated)
		return err
	})
	require.EqualValues(t, 3, got.Generation)
}

func deploymentStored(t *testing.T, f DeploymentStoreFixture) {
	created := createDeployment(t, f.Store, "web", 1)
	record, err := contracts.Decode[contracts.DeploymentRecord](f.Stored(t, "web"))
	require.NoError(t, err)
	requireSameDeployment(t, created, domain.DeploymentFromRecord(record, created.Revision))
}
