package deploy_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestUntil(t *testing.T) {
	notYet := domain.Errorf(domain.ErrUnavailable, "not yet")
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		answers []error // the last one is repeated
		is      error
		says    string
		told    []string
		took    time.Duration
	}{
		"at once":     {answers: []error{nil}},
		"after a":     {answers: []error{notYet, notYet, nil}, told: []string{"wait: not yet"}, took: 2 * time.Second},
		"never":       {answers: []error{notYet}, says: "after 5s: not yet", told: []string{"wait: not yet"}, took: 5 * time.Second},
		"broken":      {answers: []error{notYet, broken}, is: broken, told: []string{"wait: not yet"}, took: time.Second},
		"slow answer": {answers: []error{context.DeadlineExceeded, nil}, told: []string{"wait: context deadline exceeded"}, took: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				asked, started := 0, time.Now()
				err := deploy.Until(t.Context(), 5*time.Second, func(note string) { told = append(told, note) }, func(context.Context) error {
					asked++
					return test.answers[min(asked, len(test.answers))-1]
				})
				require.Equal(t, test.took, time.Since(started))
				require.Equal(t, test.told, told)
				switch {
				case test.is != nil:
					require.ErrorIs(t, err, test.is)
				case test.says != "":
					require.EqualError(t, err, test.says)
				default:
					require.NoError(t, err)
				}
			})
		})
	}
}

func TestUntilIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2500*time.Millisecond, cancel)
		err := deploy.Until(ctx, time.Minute, func(string) {}, func(context.Context) error {
			return domain.Errorf(domain.ErrUnavailable, "not yet")
		})
		require.ErrorIs(t, err, context.Canceled)
	})
}

// Whose time is over first does not matter: what was waited for is said.
func TestUntilSaysWhatItWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := deploy.Until(ctx, time.Minute, func(string) {}, func(context.Context) error {
			return domain.Errorf(domain.ErrUnavailable, "not yet")
		})
		require.EqualError(t, err, "after 3s: not yet")
	})
}
