package domain

import "context"

// AgentRelease is one version of the agent.
type AgentRelease struct {
	Version string
	// URL to fetch it from.
	URL string
	// SHA256 of the file, in hex.
	SHA256 string
}

// AgentLifecycle replaces the agent on its host. The steps are taken in order;
// each is idempotent and can be taken again after a crash.
type AgentLifecycle interface {
	// Stage fetches the release beside the running one: ErrInvalid when it does
	// not have the promised digest. No version is erased by it.
	Stage(ctx context.Context, release AgentRelease) error
	// Verify starts the staged version's self-test: ErrInvalid when it fails,
	// ErrNotFound when it is not staged.
	Verify(ctx context.Context, version string) error
	// CutOver starts the verified version while this one stays alive, and arms
	// the way back: without Confirm the old version takes over again.
	CutOver(ctx context.Context, version string) error
	// Confirm makes the version the one to start from now on. The old one ends.
	Confirm(ctx context.Context, version string) error
	// RollBack returns to the version that ran before CutOver: ErrNotFound when
	// there is none.
	RollBack(ctx context.Context) error
}
