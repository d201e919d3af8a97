package deploy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// engraved are things, of which "copy" is made from what is known of "key".
type engraved struct{ err error }

func (engraved) Name() string { return "engraved" }

func (engraved) Smoke(context.Context, putter, deploy.Progress) error { return nil }

func (e engraved) Resources(topology putter) ([]deploy.Resource, error) {
	s := topology.(*shelf)
	return []deploy.Resource{
		thing{s, "key"},
		&deploy.Late{Resource: thing{s, "copy"}, Complete: func(context.Context) error {
			if e.err == nil && s.Get("key") == "" {
				return domain.Errorf(domain.ErrNotFound, "there is no key")
			}
			return e.err
		}},
	}, nil
}

func TestLate(t *testing.T) {
	topology, run := newShelf(), deploy.For(engraved{})
	plan, err := run.Plan(t.Context(), topology, deploy.Present, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, 2, plan.Changes())
	require.Equal(t, deploy.ActionCreate, plan.Steps[1].Change.Action)
	require.Equal(t, []string{"there is no key"}, plan.Steps[1].Change.Details)

	outcome, err := run.Apply(t.Context(), topology, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed())
	outcome, err = run.Apply(t.Context(), topology, deploy.Options{})
	require.NoError(t, err)
	require.Zero(t, outcome.Changed())

	// The key is lost: what was made from it will be adapted, and can be removed.
	require.NoError(t, topology.Put(t.Context(), "key", ""))
	plan, err = run.Plan(t.Context(), topology, deploy.Present, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, deploy.ActionUpdate, plan.Steps[1].Change.Action)
	outcome, err = run.Destroy(t.Context(), topology, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, 1, outcome.Changed())

	broken := errors.New("unreadable")
	_, err = deploy.For(engraved{err: broken}).Plan(t.Context(), topology, deploy.Present, deploy.Options{})
	require.ErrorIs(t, err, broken)
}
