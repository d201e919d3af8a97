package kube

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// One request that gets lost ends no life of the bridge; two in a row do.
func TestInspectionForgivesOneFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		missing := errors.New("the definitions are not installed")
		answers := []error{nil, missing, nil, missing, missing, nil}
		looks := 0
		began := time.Now()
		err := inspection{interval: 10 * time.Second, look: func(context.Context) error {
			looks++
			return answers[looks-1]
		}}.Start(t.Context())
		require.ErrorIs(t, err, missing)
		require.Equal(t, 5, looks)
		require.Equal(t, 50*time.Second, time.Since(began))
	})
}

func TestInspectionEndsWithTheBridge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := inspection{interval: time.Second, look: func(context.Context) error {
			cancel()
			return errors.New("cut off in the middle")
		}}.Start(ctx)
		require.NoError(t, err)
	})
}
