package conformance

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// patience bounds every wait. It is long because nothing waits for it to
	// pass unless something is wrong.
	patience = 15 * time.Second
	// pollEvery is the pause between two looks at a condition.
	pollEvery = 5 * time.Millisecond
	// atOnce bounds what the interfaces promise "at once".
	atOnce = time.Second
)

// obligation is one subtest.
type obligation[F any] struct {
	name  string
	check func(t *testing.T, f F)
	// needs is the part of the fixture without which it cannot be checked; nil
	// when it needs none.
	needs part[F]
}

// part returns why an optional part of a fixture is not there, "" when it is.
type part[F any] func(t *testing.T, f F) string

// named is a part by its name in the fixture.
func named[F any](name string, there func(t *testing.T, f F) bool) part[F] {
	return func(t *testing.T, f F) string {
		t.Helper()
		if there(t, f) {
			return ""
		}
		return "the fixture has no " + name
	}
}

// checkAll runs the obligations that the fixture can show, and names the
// others. A fixture of its own is asked which those are.
func checkAll[F any](t *testing.T, open func(t *testing.T) F, obligations []obligation[F]) {
	t.Helper()
	asked := open(t)
	for _, o := range obligations {
		if o.needs != nil {
			if why := o.needs(t, asked); why != "" {
				t.Logf("not checked: %q: %s", o.name, why)
				continue
			}
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			o.check(t, open(t))
		})
	}
}

// eventually waits until check holds.
func eventually(t *testing.T, check func() bool, format string, args ...any) {
	t.Helper()
	require.Eventuallyf(t, check, patience, pollEvery, format, args...)
}

// untilReachable calls do again as long as the backend is unavailable, as it
// may be for a moment after a restart, and requires that it then succeeds.
func untilReachable(t *testing.T, do func() error) {
	t.Helper()
	var err error
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if err = do(); !errors.Is(err, domain.ErrUnavailable) {
			break
		}
		select {
		case <-ctx.Done():
			require.NoError(t, err, "still unavailable after %s", patience)
		case <-time.After(pollEvery):
		}
	}
	require.NoError(t, err)
}

// bounded returns a context that ends when patience does.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// running is a blocking call in a goroutine of its own.
type running struct {
	cancel context.CancelFunc
	result chan error
}

// start calls block until end is called or the subtest ends.
func start(t *testing.T, block func(ctx context.Context) error) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel: cancel, result: make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.result <- block(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("a call did not return within %s of its cancellation", patience)
		}
	})
	return r
}

// wait returns what the call returns by itself.
func (r *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.result:
		return err
	case <-time.After(patience):
		require.FailNow(t, "the call did not return")
		return nil
	}
}

// end cancels the call and returns what it returns.
func (r *running) end(t *testing.T) error {
	t.Helper()
	r.cancel()
	return r.wait(t)
}

// requireAtOnce requires that do returns within a second.
func requireAtOnce(t *testing.T, do func()) {
	t.Helper()
	began := time.Now()
	do()
	require.Less(t, time.Since(began), atOnce, "must return at once")
}
