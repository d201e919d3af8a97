package domain_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

func deployment(argument string) domain.FleetDeployment {
	return domain.FleetDeployment{
		Name: "web",
		Spec: contracts.DeploymentSpec{
			TargetSelector: &contracts.LabelSelector{},
			Score: contracts.ReconcileScore{
				Type: contracts.ScoreProcessV0,
				Data: []byte(`{"services":[{"name":"web","command":["/bin/web"],"args":["` + argument + `"]}]}`),
			},
		},
	}
}

func TestApplyCreatesThenChangesThenLeavesAlone(t *testing.T) {
	t.Parallel()
	store := memory.New().Deployments()
	for _, step := range []struct {
		argument   string
		outcome    domain.ApplyOutcome
		generation uint64
	}{
		{"a", domain.OutcomeCreated, 1},
		{"a", domain.OutcomeUnchanged, 1},
		{"b", domain.OutcomeConfigured, 2},
		{"b", domain.OutcomeUnchanged, 2},
	} {
		stored, outcome, err := domain.ApplyDeployment(t.Context(), store, deployment(step.argument))
		require.NoError(t, err)
		require.Equal(t, step.outcome, outcome)
		require.Equal(t, step.generation, stored.Generation)
	}
}

func TestApplyRefusesAnotherManager(t *testing.T) {
	t.Parallel()
	store := memory.New().Deployments()
	owned := deployment("a")
	owned.Origin = contracts.OriginKubernetes
	_, _, err := domain.ApplyDeployment(t.Context(), store, owned)
	require.NoError(t, err)
	_, _, err = domain.ApplyDeployment(t.Context(), store, deployment("b"))
	require.ErrorIs(t, err, domain.ErrConflict)
	require.ErrorContains(t, err, "kubernetes")
}

// racingStore lets somebody else write between reading and writing.
type racingStore struct {
	domain.DeploymentStore
	race func()
}

func (s *racingStore) Get(ctx context.Context, name contracts.DeploymentName) (domain.FleetDeployment, error) {
	d, err := s.DeploymentStore.Get(ctx, name)
	if race := s.race; race != nil {
		s.race = nil
		race()
	}
	return d, err
}

func TestApplyTriesAgainWhenSomebodyWasFaster(t *testing.T) {
	t.Parallel()
	store := memory.New().Deployments()
	apply := func(argument string) {
		_, _, err := domain.ApplyDeployment(t.Context(), store, deployment(argument))
		require.NoError(t, err)
	}
	remove := func() {
		current, err := store.Get(t.Context(), "web")
		require.NoError(t, err)
		require.NoError(t, store.Delete(t.Context(), "web", current.Revision))
	}
	cases := []struct {
		name         string
		before, race func()
		outcome      domain.ApplyOutcome
	}{
		{"created meanwhile", func() {}, func() { apply("other") }, domain.OutcomeConfigured},
		{"changed meanwhile", func() { apply("other") }, func() { apply("another") }, domain.OutcomeConfigured},
		{"deleted meanwhile", func() { apply("other") }, remove, domain.OutcomeCreated},
	}
	for _, c := range cases {
		c.before()
		_, outcome, err := domain.ApplyDeployment(t.Context(), &racingStore{DeploymentStore: store, race: c.race}, deployment("mine"))
		require.NoError(t, err, c.name)
		require.Equal(t, c.outcome, outcome, c.name)
	}
}

func TestCheckDeploymentRefusesWhatIsNotBuilt(t *testing.T) {
	t.Parallel()
	percent, err := contracts.ParseAmount("10%")
	require.NoError(t, err)
	for field, rollout := range map[string]contracts.Rollout{
		"strategy":         {Strategy: contracts.StrategyRolling},
		"maxUnavailable":   {MaxUnavailable: percent},
		"minReady":         {MinReady: 1},
		"progressDeadline": {ProgressDeadline: 1},
		"maxFailures":      {MaxFailures: percent},
		"onFailure":        {OnFailure: contracts.FailurePause},
	} {
		d := deployment("a")
		d.Spec.Rollout = rollout
		err := domain.CheckDeployment(d)
		require.ErrorIs(t, err, domain.ErrInvalid)
		require.ErrorContains(t, err, field)
	}
	d := deployment("{{ .device.nme }}")
	require.ErrorContains(t, domain.CheckDeployment(d), ".device.nme")
	require.NoError(t, domain.CheckDeployment(deployment("{{ .device.id }}")))
}

func TestListDeployments(t *testing.T) {
	t.Parallel()
	store := memory.New().Deployments()
	all, err := domain.ListDeployments(t.Context(), store)
	require.NoError(t, err)
	require.Empty(t, all)
	_, _, err = domain.ApplyDeployment(t.Context(), store, deployment("a"))
	require.NoError(t, err)
	all, err = domain.ListDeployments(t.Context(), store)
	require.NoError(t, err)
	require.Len(t, all, 1)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = domain.ListDeployments(cancelled, store)
	require.ErrorIs(t, err, context.Canceled)
}
