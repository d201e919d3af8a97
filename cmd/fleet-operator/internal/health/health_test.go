package health_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/health"
)

func TestServeAnswersProbesUntilCancelled(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ready := make(chan bool, 1)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() {
		stopped <- health.Serve(ctx, listener,
			func() (bool, string) {
				if <-ready {
					return true, "Converged"
				}
				return false, "Recovering"
			},
			func() any { return map[string]int{"devices": 3} })
	}()
	get := func(path string) (int, string) {
		response, err := http.Get("http://" + listener.Addr().String() + path)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}

	code, _ := get("/healthz")
	require.Equal(t, http.StatusOK, code)
	ready <- false
	code, word := get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "Recovering\n", word)
	ready <- true
	code, word = get("/readyz")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "Converged\n", word)
	_, body := get("/status")
	require.JSONEq(t, `{"devices": 3}`, body)

	cancel()
	require.NoError(t, <-stopped)
}
