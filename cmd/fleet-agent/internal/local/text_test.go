package local_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/local"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// moment is the present of these tests.
func moment() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func before(d time.Duration) time.Time { return moment().Add(-d) }

// troubled is an agent of which everything is to be told.
func troubled() agent.Status {
	return agent.Status{
		Device: "pi-042", Version: "v1.2.3", StartedAt: before(50 * time.Hour), TrustedKeys: []string{"0123456789abcdef"},
		Link:              domain.LinkState{Since: before(5 * time.Minute), Problem: "connection refused"},
		DesiredGeneration: 12,
		DesiredProblem:    "no space left on device",
		Refused:           &contracts.Refusal{Reason: contracts.RefusedUnknownKey, Generation: 13, Message: "signed by key beef"},
		LastHeartbeatAt:   before(6 * time.Minute),
		Deployments: []agent.DeploymentStatus{
			{
				DeploymentReport: contracts.DeploymentReport{
					Name: "shop", Generation: 3, Phase: contracts.PhaseFailed, Reason: contracts.ReasonImagePullFailed,
					Message: "registry.example/shop:3 does not exist", Since: before(90 * time.Second),
				},
				AppliedGeneration: 2, Failures: 2, NextRetry: before(-30 * time.Second),
			},
			{
				DeploymentReport: contracts.DeploymentReport{
					Name: "web", Generation: 7, Phase: contracts.PhaseRunning, Since: before(150 * time.Minute),
					Services: []contracts.ServiceReport{
						{Name: "a", State: contracts.ServiceRunning, Restarts: 1}, {Name: "b", State: contracts.ServiceRunning, Restarts: 3},
					},
				},
				AppliedGeneration: 7,
			},
		},
		Runtimes: []agent.RuntimeStatus{{Name: "process", SeenAt: before(3 * time.Second)}, {Name: "podman", Problem: "no engine answers"}, {Name: "late"}},
	}
}

func text(t *testing.T, status local.Status) string {
	t.Helper()
	var out strings.Builder
	require.NoError(t, local.WriteText(&out, status, moment()))
	return out.String()
}

func TestTextOfATroubledAgent(t *testing.T) {
	t.Parallel()
	require.Equal(t, `Device         pi-042
Agent          v1.2.3, up 2d (since 2026-11-21 10:00:00 UTC)
Link           not connected for 5m (since 2026-11-23 11:55:00 UTC): connection refused
Desired state  generation 12, 1 of 2 deployments applied
Problem        no space left on device
Refused        generation 13, UnknownKey: signed by key beef
Runtime        process: works, looked at 3s ago
Runtime        podman: no engine answers
Runtime        late: not looked at yet

DEPLOYMENT  PHASE    REASON           SINCE  RESTARTS  DESIRED  APPLIED  NEXT RETRY
shop        Failed   ImagePullFailed  1m     0         3        2        in 30s
web         Running  -                2h30m  4         7        7        -

shop: registry.example/shop:3 does not exist
`, text(t, local.FromAgent(troubled())))
}

func TestTextOfANewAgent(t *testing.T) {
	t.Parallel()
	require.Equal(t, `Device         pi-1
Agent          v1.2.3, up 0s (since 2026-11-23 13:00:00 UTC)
Link           connected to tls://broker.example:4222 for 1s (since 2026-11-23 11:59:59 UTC)
Desired state  none yet
Runtime        none: nothing can run on this device
`, text(t, local.FromAgent(agent.Status{
		Device: "pi-1", Version: "v1.2.3",
		StartedAt: before(-time.Hour), // the clock was set back
		Link:      domain.LinkState{Connected: true, Server: "tls://broker.example:4222", Since: before(time.Second)},
	})))
}

func TestTextOfADeadAgent(t *testing.T) {
	t.Parallel()
	require.Equal(t, `Device         pi-1
Agent          does not run; this is on disk, with phases as last saved
Desired state  generation 4

DEPLOYMENT  PHASE    REASON  SINCE  RESTARTS  DESIRED  APPLIED  NEXT RETRY
api         ?        -       -      0         1        ?        -
web         Running  -       10s    0         2        ?        -
`, text(t, local.Status{Device: "pi-1", DesiredGeneration: 4, Deployments: []local.Deployment{
		{Name: "api", Generation: 1}, {Name: "web", Generation: 2, Phase: contracts.PhaseRunning, Since: before(10 * time.Second)},
	}}))
}
