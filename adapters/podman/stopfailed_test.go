package podman_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// testStopFailed: somebody has suspended the container. Podman 4 stops no such
// container, Docker does.
func testStopFailed(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	apply(t, r, workload(t, "held", 1, services(does("web", "stop", "_"))))
	id := strings.TrimSpace(h.CLI(t.Context(), "ps", "-q", "--filter", "label=io.nationtech.fleet.deployment=held"))
	require.NotEmpty(t, id)
	h.CLI(t.Context(), "pause", id)
	err := r.Remove(t.Context(), "held")
	if h.Product == podmantest.Podman {
		var failure *domain.WorkloadError
		require.ErrorAs(t, err, &failure)
		assert.Equal(t, contracts.ReasonStopFailed, failure.Reason)
		assert.Contains(t, failure.Message, "held", "it says of what")
		h.CLI(t.Context(), "unpause", id)
		err = r.Remove(t.Context(), "held")
	}
	require.NoError(t, err)
	all, err := r.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, all)
}
