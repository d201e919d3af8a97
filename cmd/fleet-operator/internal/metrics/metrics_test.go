package metrics_test

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/metrics"
)

func TestPage(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	metrics.Handler(func(w *metrics.Writer) {
		w.Counter("a_total", "How many.")
		w.Value("a_total", 3, "role", "device", "why", `a "b"`)
		w.Value("a_total", 0.25)
	}).ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, metrics.ContentType, recorder.Header().Get("Content-Type"))
	require.Equal(t, "# HELP a_total How many.\n# TYPE a_total counter\na_total{role=\"device\",why=\"a \\\"b\\\"\"} 3\na_total 0.25\n", recorder.Body.String())
}
