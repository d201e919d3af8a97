package deploy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy"
)

// telling is a stack that says what its smoke test does.
type telling struct{ stack }

func (n telling) Smoke(_ context.Context, _ putter, progress deploy.Progress) error {
	progress("looking")
	return n.smoke
}

// both are two of them, as one.
type both [2]telling

func (both) Name() string { return "both" }

func (b both) parts(topology putter) []deploy.Part {
	return []deploy.Part{deploy.PartOf[putter]("first", b[0], topology), deploy.PartOf[putter]("second", b[1], topology)}
}

func (b both) Resources(topology putter) ([]deploy.Resource, error) {
	return deploy.Join(b.parts(topology)...)
}

func (b both) Smoke(ctx context.Context, topology putter, progress deploy.Progress) error {
	return deploy.SmokeAll(ctx, progress, b.parts(topology)...)
}

func TestScoreOfScores(t *testing.T) {
	topology := newShelf()
	score := both{{stack{names: []string{"common", "a"}}}, {stack{names: []string{"common", "b"}}}}
	var notes []string
	listen := deploy.Companion{Observe: func(event deploy.Event) {
		if event.Step == "smoke test" && event.Message != "" {
			notes = append(notes, event.Message)
		}
	}}
	outcome, err := deploy.For(score).Apply(t.Context(), topology, deploy.Options{Companions: []deploy.Companion{listen}})
	require.NoError(t, err)
	require.Equal(t, map[string]deploy.State{
		"first: common": deploy.StateChanged, "first: a": deploy.StateChanged, "second: b": deploy.StateChanged, "smoke test": deploy.StatePassed,
	}, states(outcome))
	require.Equal(t, []string{"put common", "put a", "put b"}, topology.log)
	require.Equal(t, []string{"first", "first: looking", "second", "second: looking"}, notes)

	outcome, err = deploy.For(score).Apply(t.Context(), topology, deploy.Options{})
	require.NoError(t, err)
	require.Zero(t, outcome.Changed())

	_, err = deploy.For(score).Destroy(t.Context(), topology, deploy.Options{})
	require.NoError(t, err)
	require.Equal(t, []string{"put b", "put a", "put common"}, topology.log[3:])
	require.Empty(t, topology.things)

	resources, err := score.Resources(topology)
	require.NoError(t, err)
	require.Equal(t, thing{topology, "common"}, deploy.Inner(resources[0]))

	score[1].smoke = deploy.WithNext(errors.New("no answer"), "listen")
	_, err = deploy.For(score).Smoke(t.Context(), topology, deploy.Options{})
	require.ErrorContains(t, err, "both: smoke test: second: no answer; next: listen")
}
