package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

// LeaderElectorFixture is a leadership that nobody holds.
type LeaderElectorFixture struct {
	// Contender returns another process that may lead, with a connection of its
	// own.
	Contender func(t *testing.T, identity string) Contender
	// Failover is the longest time from the sudden death of the leader until
	// another leads.
	Failover time.Duration
	// Restart stops the backend and starts it again with its durable data.
	Restart func(t *testing.T)
}

// Contender is a process that may lead.
type Contender struct {
	Elector domain.LeaderElector
	// Kill cuts the process off for good: it can give nothing up any more.
	Kill func(t *testing.T)
}

// LeaderElector checks an implementation of domain.LeaderElector.
func LeaderElector(t *testing.T, open func(t *testing.T) LeaderElectorFixture) {
	t.Helper()
	restart := named("Restart", func(_ *testing.T, f LeaderElectorFixture) bool { return f.Restart != nil })
	kill := named("Kill", func(t *testing.T, f LeaderElectorFixture) bool { return f.Contender(t, "asked").Kill != nil })
	checkAll(t, open, []obligation[LeaderElectorFixture]{
		{name: "one leads", check: leaderAlone},
		{name: "leadership is exclusive", check: leaderExclusive},
		{name: "another leads after the leader gives up", check: leaderHandOver},
		{name: "another leads after the leader dies, whose context ends first", check: leaderDies, needs: kill},
		{name: "error of lead ends it", check: leaderError},
		{name: "lead that returns is called again", check: leaderAgain},
		{name: "contender that waits is cancelled", check: leaderWaiting},
		{name: "somebody leads after a restart", check: leaderRestart, needs: restart},
	})
}

// reign is who leads, as seen by the contenders themselves.
type reign struct {
	mu      sync.Mutex
	leaders map[string]context.Context
	terms   map[string]int
	// clashes are the moments at which two could have led.
	clashes []string
}

func newReign() *reign {
	return &reign{leaders: map[string]context.Context{}, terms: map[string]int{}}
}

// lead leads until its context ends.
func (r *reign) lead(identity string) func(context.Context) error {
	return func(ctx context.Context) error {
		r.enter(ctx, identity)
		<-ctx.Done()
		r.leave(identity)
		return nil
	}
}

func (r *reign) enter(ctx context.Context, identity string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, leading := range r.leaders {
		if leading.Err() == nil {
			r.clashes = append(r.clashes, fmt.Sprintf("%s leads while %s does", identity, other))
		}
	}
	r.leaders[identity] = ctx
	r.terms[identity]++
}

func (r *reign) leave(identity string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.leaders, identity)
}

// leader returns the one that leads, "" for nobody.
func (r *reign) leader() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for identity, ctx := range r.leaders {
		if ctx.Err() == nil {
			return identity
		}
	}
	return ""
}

func (r *reign) termsOf(identity string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.terms[identity]
}

// awaits waits for a leader other than the given one.
func (r *reign) awaits(t *testing.T, within time.Duration, other string) string {
	t.Helper()
	var leader string
	require.Eventually(t, func() bool {
		leader = r.leader()
		return leader != "" && leader != other
	}, within+patience, pollEvery, "somebody other than %q must lead", other)
	return leader
}

func (r *reign) requireExclusive(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(t, r.clashes)
}

func leaderAlone(t *testing.T, f LeaderElectorFixture) {
	r := newReign()
	elector := f.Contender(t, "a").Elector
	leading := start(t, func(ctx context.Context) error { return elector.Lead(ctx, r.lead("a")) })
	require.Equal(t, "a", r.awaits(t, f.Failover, ""))
	require.NoError(t, leading.end(t))
	require.Empty(t, r.leader(), "lead is waited for")
}

func leaderExclusive(t *testing.T, f LeaderElectorFixture) {
	const contenders, handOvers = 3, 3
	r := newReign()
	processes := map[string]*running{}
	for i := range contenders {
		identity := fmt.Sprintf("c%d", i)
		elector := f.Contender(t, identity).Elector
		processes[identity] = start(t, func(ctx context.Context) error { return elector.Lead(ctx, r.lead(identity)) })
	}
	leader := ""
	for range handOvers {
		leader = r.awaits(t, f.Failover, leader)
		require.NoError(t, processes[leader].end(t))
	}
	r.requireExclusive(t)
}

func leaderHandOver(t *testing.T, f LeaderElectorFixture) {
	r := newReign()
	first, second := f.Contender(t, "a").Elector, f.Contender(t, "b").Elector
	leading := start(t, func(ctx context.Context) error { return first.Lead(ctx, r.lead("a")) })
	r.awaits(t, f.Failover, "")
	start(t, func(ctx context.Context) error { return second.Lead(ctx, r.lead("b")) })
	require.NoError(t, leading.end(t))
	require.Equal(t, "b", r.awaits(t, f.Failover, "a"))
	r.requireExclusive(t)
}

func leaderDies(t *testing.T, f LeaderElectorFixture) {
	r := newReign()
	first, second := f.Contender(t, "a"), f.Contender(t, "b").Elector
	start(t, func(ctx context.Context) error { return first.Elector.Lead(ctx, r.lead("a")) })
	r.awaits(t, f.Failover, "")
	start(t, func(ctx context.Context) error { return second.Lead(ctx, r.lead("b")) })
	first.Kill(t)
	require.Equal(t, "b", r.awaits(t, f.Failover, "a"))
	r.requireExclusive(t)
}

func leaderError(t *testing.T, f LeaderElectorFixture) {
	r := newReign()
	enough := errors.New("enough")
	first, second := f.Contender(t, "a").Elector, f.Contender(t, "b").Elector
	leading := start(t, func(ctx context.Context) error {
		return first.Lead(ctx, func(context.Context) error { return enough })
	})
	require.ErrorIs(t, leading.wait(t), enough)
	start(t, func(ctx context.Context) error { return second.Lead(ctx, r.lead("b")) })
	require.Equal(t, "b", r.awaits(t, f.Failover, ""), "who failed has given leadership up")
}

func leaderAgain(t *testing.T, f LeaderElectorFixture) {
	r := newReign()
	elector := f.Contender(t, "a").Elector
	start(t, func(ctx context.Context) error {
		return elector.Lead(ctx, func(ctx context.Context) error {
			r.enter(ctx, "a")
			defer r.leave("a")
			return nil
		})
	})
	require.Eventually(t, func() bool { return r.termsOf("a") >= 2 }, 2*f.Failover+patience, pollEvery, "it must lead again")
}

func leaderWaiting(t *testing.T, f LeaderElectorFixture) {
	r := newReign()
	first, second := f.Contender(t, "a").Elector, f.Contender(t, "b").Elector
	start(t, func(ctx context.Context) error { return first.Lead(ctx, r.lead("a")) })
	r.awaits(t, f.Failover, "")
	waiting := start(t, func(ctx context.Context) error { return second.Lead(ctx, r.lead("b")) })
	require.NoError(t, waiting.end(t))
	require.Equal(t, "a", r.leader())
	require.Zero(t, r.termsOf("b"))
}

func leaderRestart(t *testing.T, f LeaderElectorFixture) {
	r := newReign()
	for _, identity := range []string{"a", "b"} {
		elector := f.Contender(t, identity).Elector
		start(t, func(ctx context.Context) error { return elector.Lead(ctx, r.lead(identity)) })
	}
	r.awaits(t, f.Failover, "")
	f.Restart(t)
	r.awaits(t, f.Failover, "")
	r.requireExclusive(t)
}
