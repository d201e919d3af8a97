package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

// AgentLifecycleFixture is a host that runs one version of the agent and never
// ran another.
type AgentLifecycleFixture struct {
	Lifecycle domain.AgentLifecycle
	// Initial is the version that runs.
	Initial string
	// Release offers a version for fetching. A broken one fails its self-test.
	Release func(t *testing.T, version string, broken bool) domain.AgentRelease
	// Running returns the version that acts on the host.
	Running func(t *testing.T) string
	// Versions returns the versions on the host.
	Versions func(t *testing.T) []string
	// Expire lets the time pass in which a new version must be confirmed.
	Expire func(t *testing.T)
}

// AgentLifecycle checks an implementation of domain.AgentLifecycle.
func AgentLifecycle(t *testing.T, open func(t *testing.T) AgentLifecycleFixture) {
	t.Helper()
	expire := named("Expire", func(_ *testing.T, f AgentLifecycleFixture) bool { return f.Expire != nil })
	checkAll(t, open, []obligation[AgentLifecycleFixture]{
		{name: "stage", check: lifecycleStaged},
		{name: "stage of a file without the promised digest", check: lifecycleDigest},
		{name: "verify what is not staged", check: lifecycleNotStaged},
		{name: "verify what is broken", check: lifecycleBroken},
		{name: "cut over and confirm", check: lifecycleConfirmed},
		{name: "without confirm the old version takes over", check: lifecycleExpired, needs: expire},
		{name: "roll back before confirm", check: lifecycleRolledBack},
		{name: "roll back after confirm", check: lifecycleRolledBackLater},
		{name: "roll back to nothing", check: lifecycleNothing},
		{name: "upgrade after upgrade", check: lifecycleTwice},
	})
}

// ready stages and verifies a version.
func ready(t *testing.T, f AgentLifecycleFixture, version string) {
	t.Helper()
	release := f.Release(t, version, false)
	for range 2 { // idempotent
		require.NoError(t, f.Lifecycle.Stage(t.Context(), release))
	}
	for range 2 {
		require.NoError(t, f.Lifecycle.Verify(t.Context(), version))
	}
}

func cutOver(t *testing.T, f AgentLifecycleFixture, version string) {
	t.Helper()
	for range 2 {
		require.NoError(t, f.Lifecycle.CutOver(t.Context(), version))
	}
	eventually(t, func() bool { return f.Running(t) == version }, "agent %s must run", version)
}

func confirm(t *testing.T, f AgentLifecycleFixture, version string) {
	t.Helper()
	for range 2 {
		require.NoError(t, f.Lifecycle.Confirm(t.Context(), version))
	}
	require.Equal(t, version, f.Running(t))
}

func rollBack(t *testing.T, f AgentLifecycleFixture, version string) {
	t.Helper()
	for range 2 {
		require.NoError(t, f.Lifecycle.RollBack(t.Context()))
	}
	eventually(t, func() bool { return f.Running(t) == version }, "agent %s must run again", version)
}

func lifecycleStaged(t *testing.T, f AgentLifecycleFixture) {
	ready(t, f, "9.1.0")
	require.ElementsMatch(t, []string{f.Initial, "9.1.0"}, f.Versions(t))
	require.Equal(t, f.Initial, f.Running(t))
}

func lifecycleDigest(t *testing.T, f AgentLifecycleFixture) {
	release := f.Release(t, "9.1.0", false)
	promised := release.SHA256
	release.SHA256 = "0000000000000000000000000000000000000000000000000000000000000000"
	require.ErrorIs(t, f.Lifecycle.Stage(t.Context(), release), domain.ErrInvalid)
	require.Equal(t, []string{f.Initial}, f.Versions(t))
	require.ErrorIs(t, f.Lifecycle.Verify(t.Context(), "9.1.0"), domain.ErrNotFound)
	release.SHA256 = promised
	require.NoError(t, f.Lifecycle.Stage(t.Context(), release))
}

func lifecycleNotStaged(t *testing.T, f AgentLifecycleFixture) {
	require.ErrorIs(t, f.Lifecycle.Verify(t.Context(), "9.1.0"), domain.ErrNotFound)
}

func lifecycleBroken(t *testing.T, f AgentLifecycleFixture) {
	require.NoError(t, f.Lifecycle.Stage(t.Context(), f.Release(t, "9.1.0", true)))
	require.ErrorIs(t, f.Lifecycle.Verify(t.Context(), "9.1.0"), domain.ErrInvalid)
	require.Error(t, f.Lifecycle.CutOver(t.Context(), "9.1.0"), "what is not verified does not run")
	require.Equal(t, f.Initial, f.Running(t))
}

func lifecycleConfirmed(t *testing.T, f AgentLifecycleFixture) {
	ready(t, f, "9.1.0")
	cutOver(t, f, "9.1.0")
	confirm(t, f, "9.1.0")
	if f.Expire != nil {
		f.Expire(t)
		require.Equal(t, "9.1.0", f.Running(t))
	}
	require.ElementsMatch(t, []string{f.Initial, "9.1.0"}, f.Versions(t))
}

func lifecycleExpired(t *testing.T, f AgentLifecycleFixture) {
	ready(t, f, "9.1.0")
	cutOver(t, f, "9.1.0")
	f.Expire(t)
	eventually(t, func() bool { return f.Running(t) == f.Initial }, "the old version must take over")
	require.ElementsMatch(t, []string{f.Initial, "9.1.0"}, f.Versions(t))
}

func lifecycleRolledBack(t *testing.T, f AgentLifecycleFixture) {
	ready(t, f, "9.1.0")
	cutOver(t, f, "9.1.0")
	rollBack(t, f, f.Initial)
	require.ElementsMatch(t, []string{f.Initial, "9.1.0"}, f.Versions(t))
}

func lifecycleRolledBackLater(t *testing.T, f AgentLifecycleFixture) {
	ready(t, f, "9.1.0")
	cutOver(t, f, "9.1.0")
	confirm(t, f, "9.1.0")
	rollBack(t, f, f.Initial)
}

func lifecycleNothing(t *testing.T, f AgentLifecycleFixture) {
	require.ErrorIs(t, f.Lifecycle.RollBack(t.Context()), domain.ErrNotFound)
	ready(t, f, "9.1.0")
	require.ErrorIs(t, f.Lifecycle.RollBack(t.Context()), domain.ErrNotFound)
}

func lifecycleTwice(t *testing.T, f AgentLifecycleFixture) {
	for _, version := range []string{"9.1.0", "9.2.0"} {
		ready(t, f, version)
		cutOver(t, f, version)
		confirm(t, f, version)
	}
	rollBack(t, f, "9.1.0")
}
