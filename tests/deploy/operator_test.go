package deploy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/operator"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// fixture is a namespace, a broker, and a Score for both.
type fixture struct {
	broker    *fleettest.Dev
	namespace string
	topology  *kube.Topology
	score     *operator.FleetOperatorScore
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{namespace: cluster.Get(t).Namespace(t)}
	var err error
	f.topology, err = kube.New(kube.Config{Kubeconfig: cluster.Get(t).Kubeconfig})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	f.broker, err = fleettest.StartDev(ctx, bin, t.TempDir(), nil, "--devices", "1", "--port", "0", "--no-operator", "--no-agents")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.broker.End()) })
	nkey, err := os.ReadFile(f.broker.NKey)
	require.NoError(t, err)
	f.score = &operator.FleetOperatorScore{
		Namespace: f.namespace, Image: "registry.example/fleet-operator:1", Servers: []string{f.broker.Server}, NKey: nkey,
	}
	return f
}

// kubectl runs kubectl in the namespace.
func (f *fixture) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := cluster.Get(t).Kubectl(t.Context(), nil, append([]string{"--namespace", f.namespace}, args...)...)
	require.NoError(t, err)
	return strings.TrimSpace(out)
}

// program is a companion that runs the operator once the pods are there: those
// of the cluster get ready, but nothing runs in them.
func (f *fixture) program(t *testing.T) deploy.Companion {
	t.Helper()
	started := false
	return deploy.Companion{Name: "program", Observe: func(event deploy.Event) {
		if event.Step != "smoke test" || started {
			return
		}
		started = true
		key := filepath.Join(t.TempDir(), "signing.pem")
		pem := f.kubectl(t, "get", "secret", "fleet-operator-signing", "-o", `go-template={{index .data "signing.pem" | base64decode}}`)
		require.NoError(t, os.WriteFile(key, []byte(pem+"\n"), 0o600))
		program, err := fleettest.Start("operator", filepath.Join(bin, "fleet-operator"), []string{
			"run", "--kubernetes=" + cluster.Get(t).Kubeconfig, "--namespace", f.namespace, "--server", f.broker.Server,
			"--nkey-file", f.broker.NKey, "--signing-key-file", key, "--health-address=", "--identity", "op-1",
		}, nil, nil)
		require.NoError(t, err)
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(program.Output())
			}
			require.NoError(t, program.Stop(syscall.SIGTERM, timeout))
		})
	}}
}

func TestOperator(t *testing.T) {
	f := newFixture(t)
	job := deploy.For(f.score).On(f.topology)
	options := deploy.Options{Companions: []deploy.Companion{f.program(t)}}

	plan, err := job.Plan(t.Context(), deploy.Present, options)
	require.NoError(t, err)
	definitions := 2 // of the whole cluster, unless another test made them
	for _, step := range plan.Steps {
		if strings.HasPrefix(step.ID, "CustomResourceDefinition") && step.Change.Action == deploy.ActionNone {
			definitions--
		}
	}
	require.Equal(t, definitions+3, plan.Changes(), "two Secrets, the release")

	outcome, err := job.Apply(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, definitions+3, outcome.Changed())
	require.Equal(t, "2", f.kubectl(t, "get", "deployment", "fleet-operator", "-o", "jsonpath={.status.readyReplicas}"))
	require.NotEmpty(t, f.kubectl(t, "get", "lease", "fleet-operator", "-o", "jsonpath={.spec.holderIdentity}"))
	key := f.kubectl(t, "get", "secret", "fleet-operator-signing", "-o", "jsonpath={.data}")

	outcome, err = job.Apply(t.Context(), options)
	require.NoError(t, err)
	require.Zero(t, outcome.Changed(), "%+v", outcome)

	// Somebody changes something by hand.
	f.kubectl(t, "patch", "networkpolicy", "fleet-operator", "--type=json", `--patch=[{"op":"remove","path":"/spec/egress/0"}]`)
	outcome, err = job.Apply(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, 1, outcome.Changed())
	require.Contains(t, f.kubectl(t, "get", "networkpolicy", "fleet-operator", "-o", "yaml"), "port: 53")

	f.score.Replicas = 3
	outcome, err = job.Apply(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, 1, outcome.Changed())
	require.Equal(t, "3", f.kubectl(t, "get", "deployment", "fleet-operator", "-o", "jsonpath={.status.readyReplicas}"))

	outcome, err = job.Destroy(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed(), "the release and the credential")
	require.Empty(t, f.kubectl(t, "get", "deployment,role,networkpolicy,pdb", "-o", "name"))
	require.Equal(t, key, f.kubectl(t, "get", "secret", "fleet-operator-signing", "-o", "jsonpath={.data}"), "devices trust no other key")
	require.Contains(t, f.kubectl(t, "get", "crd", "-o", "name"), "devices.fleet.nationtech.io")
	outcome, err = job.Destroy(t.Context(), options)
	require.NoError(t, err)
	require.Zero(t, outcome.Changed())
}

func TestOperatorsInputIsChecked(t *testing.T) {
	for says, spoil := range map[string]func(*operator.FleetOperatorScore){
		"image":                 func(s *operator.FleetOperatorScore) { s.Image = "" },
		"servers":               func(s *operator.FleetOperatorScore) { s.Servers = nil },
		"give a key, or a user": func(s *operator.FleetOperatorScore) { s.NKey = nil },
		"a password a user":     func(s *operator.FleetOperatorScore) { s.Password = []byte("x") },
		"is less than none":     func(s *operator.FleetOperatorScore) { s.Replicas = -1 },
	} {
		score := &operator.FleetOperatorScore{Image: "i", Servers: []string{"nats://b"}, NKey: []byte("seed")}
		spoil(score)
		_, err := score.Resources(&kube.Topology{})
		require.ErrorIs(t, err, domain.ErrInvalid, says)
		require.ErrorContains(t, err, says)
	}
}
