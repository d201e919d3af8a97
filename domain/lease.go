package domain

import "context"

// LeaderElector lets one of several operators lead.
type LeaderElector interface {
	// Lead blocks until ctx is cancelled and then returns nil. Whenever this
	// process leads, it calls lead; the context of lead is cancelled as soon as
	// leadership can no longer be proven, and before another process can lead.
	// Lead waits for lead to return, gives leadership up, and tries again. An
	// error of lead ends Lead with it.
	Lead(ctx context.Context, lead func(ctx context.Context) error) error
}
