package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// impatient waits for pods for a short time alone.
type impatient struct{ *kube.Topology }

// Deploy implements kube.Releases.
func (i impatient) Deploy(ctx context.Context, deployment kube.Deployment) error {
	deployment.Timeout = 3 * time.Second
	return i.Topology.Deploy(ctx, deployment)
}

// fault is one that is injected into the bring-up of a Score.
type fault struct {
	name string
	// scores are the names of those that it can happen to; empty for all.
	scores []string
	// inject breaks something and returns how to go there and what mends it.
	inject func(t *testing.T, s *side, name string) (options deploy.Options, mend func())
	// kind is that of the error; nil for one that is tried no more.
	kind error
	// says is in the error.
	says string
}

func faults() []fault {
	return []fault{
		{name: "API server down", kind: domain.ErrUnavailable, inject: func(t *testing.T, s *side, _ string) (deploy.Options, func()) {
			t.Helper()
			line := s.overLine(t)
			line.Cut()
			return once, func() { line.Mend(t) }
		}},
		{name: "API server goes away", kind: domain.ErrUnavailable, inject: func(t *testing.T, s *side, _ string) (deploy.Options, func()) {
			t.Helper()
			line := s.overLine(t)
			options := once
			options.Companions = []deploy.Companion{{Observe: func(event deploy.Event) {
				if strings.HasPrefix(event.Step, "Secret ") && event.State == deploy.StateChanged {
					line.Cut()
				}
			}}}
			return options, func() { line.Mend(t) }
		}},
		{name: "Secrets unreadable", kind: domain.ErrPermissionDenied, inject: func(t *testing.T, s *side, _ string) (deploy.Options, func()) {
			t.Helper()
			env := cluster.Get(t)
			for _, binding := range [][]string{
				{"create", "rolebinding", "view", "-n", s.namespace, "--clusterrole=view", "--user=" + s.namespace},
				{"create", "clusterrole", s.namespace, "--verb=get,patch", "--resource=namespaces,customresourcedefinitions"},
				{"create", "clusterrolebinding", s.namespace, "--clusterrole=" + s.namespace, "--user=" + s.namespace},
			} {
				_, err := env.Kubectl(t.Context(), nil, binding...)
				require.NoError(t, err)
			}
			before := s.topology
			s.open(t, kubetest.WriteKubeconfig(t, env.UserConfig(t, s.namespace)))
			return once, func() { s.topology = before }
		}},
		{name: "chart missing", scores: []string{"nats", "zitadel"}, kind: domain.ErrNotFound, inject: func(t *testing.T, s *side, _ string) (deploy.Options, func()) {
			t.Helper()
			index := filepath.Join(s.charts, "index.yaml")
			require.NoError(t, os.Rename(index, index+".gone"))
			return once, func() { require.NoError(t, os.Rename(index+".gone", index)) }
		}},
		{name: "pod never ready", says: "no node takes it", scores: []string{"nats", "zitadel", "operator"}, inject: func(t *testing.T, s *side, _ string) (deploy.Options, func()) {
			t.Helper()
			_, err := cluster.Get(t).Kubectl(t.Context(), nil, "cordon", kubetest.NodeName)
			require.NoError(t, err)
			s.impatient = true
			return once, func() {
				_, err := cluster.Get(t).Kubectl(t.Context(), nil, "uncordon", kubetest.NodeName)
				require.NoError(t, err)
				s.impatient = false
			}
		}},
		{name: "nothing answers", scores: []string{"nats", "zitadel", "operator"}, says: "after 15s: ", inject: func(t *testing.T, s *side, name string) (deploy.Options, func()) {
			t.Helper()
			s.deploy(t, name) // which may take long; the smoke test may not
			s.silent = true
			s.connect(t)
			options := once
			options.StepTimeout = 15 * time.Second
			return options, func() { s.silent = false; s.connect(t) }
		}},
		{name: "Zitadel down", scores: []string{"setup"}, kind: domain.ErrUnavailable, inject: func(t *testing.T, s *side, _ string) (deploy.Options, func()) {
			t.Helper()
			s.emulator.Stop()
			return once, func() { require.NoError(t, s.emulator.Restart(t.Context())) }
		}},
		{name: "token refused", scores: []string{"setup"}, kind: domain.ErrUnauthenticated, inject: func(t *testing.T, s *side, _ string) (deploy.Options, func()) {
			t.Helper()
			s.setup.AdminToken = []byte("a-token-of-another-zitadel")
			return once, func() { s.setup.AdminToken = nil }
		}},
		{name: "no Zitadel", scores: []string{"setup"}, kind: domain.ErrNotFound, inject: func(t *testing.T, s *side, _ string) (deploy.Options, func()) {
			t.Helper()
			s.setup.Service = "other"
			return once, func() { s.setup.Service = "" }
		}},
	}
}

// TestFaultsOfEveryScore injects each failure into the bring-up of each Score that
// runs in a cluster: the error is clear, no Secret is half-written, and the same
// command goes on once the cause is mended.
func TestFaultsOfEveryScore(t *testing.T) {
	var table strings.Builder
	fmt.Fprintf(&table, "%-10s %-22s %-28s %s\n", "score", "failure", "step", "error, next, and what the second run did")
	for _, fault := range faults() {
		for _, name := range scoreNames() {
			if len(fault.scores) > 0 && !slices.Contains(fault.scores, name) {
				continue
			}
			t.Run(name+"/"+strings.ReplaceAll(fault.name, " ", "-"), func(t *testing.T) {
				s := newSide(t)
				s.prepare(t, name)
				options, mend := fault.inject(t, s, name)
				mended := false
				defer func() {
					if !mended {
						mend()
					}
				}()
				_, err := s.job(name).Apply(t.Context(), s.watched(t, name, options))
				require.Error(t, err)
				if fault.kind != nil {
					require.ErrorIs(t, err, fault.kind)
				}
				found, ok := errors.AsType[*deploy.Error](err)
				require.True(t, ok)
				require.NotEmpty(t, found.Step)
				require.NotEmpty(t, found.Next)
				require.NotContains(t, found.Cause.Error(), "\n")
				if fault.says != "" {
					require.ErrorContains(t, err, fault.says)
				}
				for _, secret := range s.hidden() {
					require.NotContains(t, err.Error(), secret)
				}
				left := s.secrets(t)

				mend()
				mended = true
				outcome, err := s.job(name).Apply(t.Context(), s.watched(t, name, once))
				require.NoError(t, err)
				whole := s.secrets(t)
				for secret, keys := range left {
					require.Equal(t, whole[secret], keys, "%s was half-written", secret)
				}
				again, err := s.job(name).Apply(t.Context(), s.watched(t, name, once))
				require.NoError(t, err)
				require.Zero(t, again.Changed(), "%+v", again)
				say := func(text string) string { return strings.ReplaceAll(text, s.namespace, "fleet") }
				fmt.Fprintf(&table, "%-10s %-22s %-28s %s\n%62s next: %s\n%62s second run: %s; third: %s\n", name, fault.name, say(found.Step),
					say(found.Cause.Error()), "", say(found.Next), "", outcome.Summary(), again.Summary())
			})
		}
	}
	t.Log("\n" + table.String())
}
