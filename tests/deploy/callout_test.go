package deploy

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/zitadeltest"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/callout"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/operator"
)

const devicePrefix = "fleet-deploy-"

// startIdentity runs an emulated Zitadel with the fleet's place at it.
func startIdentity(t *testing.T) callout.Identity {
	t.Helper()
	emulator, err := zitadeltest.Start(zitadeltest.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(emulator.Close)
	setup, err := zitadel.Setup(t.Context(), zitadel.Admin{AccessToken: emulator.AdminToken()}, zitadel.SetupConfig{
		Issuer: emulator.Issuer(), Project: "fleet", DevicePrefix: devicePrefix,
	}, zitadel.SetupOptions{})
	require.NoError(t, err)
	key, err := setup.Key.Encode()
	require.NoError(t, err)
	return callout.Identity{
		Issuer: emulator.Issuer(), Organization: setup.OrganizationID, Project: setup.ProjectID, DevicePrefix: devicePrefix, ServiceKey: key,
	}
}

// brokerFor runs a broker that knows the keys that are in the cluster, and returns
// its URL.
func brokerFor(t *testing.T, c *containers) string {
	t.Helper()
	public := func(secret, name string, kind nats.KeyKind) string {
		data, err := kube.ReadSecret(t.Context(), c.Topology, c.namespace, secret)
		require.NoError(t, err)
		key, err := nats.PublicKey(data[name], kind)
		require.NoError(t, err)
		return key
	}
	clients, _ := natstest.Serve(t, nats.ServerConfig{
		Issuer:      public("fleet-callout-keys", "issuer.nk", nats.IssuerKey),
		Exchange:    public("fleet-callout-keys", "exchange.nk", nats.ExchangeKey),
		CalloutUser: public("fleet-callout-keys", "callout.nk", nats.UserKey),
		SystemUser:  public("fleet-callout-keys", "system.nk", nats.UserKey),
		Operators:   []string{public(callout.OperatorSecret, operator.NKeyKey, nats.UserKey)},
	})
	return "nats://" + clients
}

// keys is the Score of the callout's keys alone: the broker needs them first.
type keys struct{ score *callout.FleetCalloutScore }

func (keys) Name() string { return "keys" }

func (k keys) Resources(topology callout.Cluster) ([]deploy.Resource, error) {
	return k.score.KeyResources(topology), nil
}

func (keys) Smoke(context.Context, callout.Cluster, deploy.Progress) error { return nil }

func TestCallout(t *testing.T) {
	c := newContainers(t)
	score := &callout.FleetCalloutScore{
		Namespace: c.namespace, Image: "registry.example/fleet-operator:1", Devices: 1000, Identity: startIdentity(t),
		Approve: callout.Approve{Labels: []string{"site=paris,ring=1"}, Serials: []byte("C02\n")},
	}
	_, err := deploy.For[callout.Cluster](keys{score}).Apply(t.Context(), c.Topology, deploy.Options{})
	require.NoError(t, err)
	score.Servers = []string{brokerFor(t, c)}

	// An operator, with the same key, makes what the callout waits for.
	nkey, err := kube.ReadSecret(t.Context(), c.Topology, c.namespace, callout.OperatorSecret)
	require.NoError(t, err)
	operators := &operator.FleetOperatorScore{
		Namespace: c.namespace, Image: score.Image, Servers: score.Servers, NKeySecret: callout.OperatorSecret,
	}
	_, err = deploy.For(operators).Apply(t.Context(), c.Topology, deploy.Options{Companions: []deploy.Companion{started("smoke test", func() {
		c.run("fleet-operator", "fleet-operator", 8081, "--kubernetes="+cluster.Get(t).Kubeconfig, "--metrics-address=")
	})}})
	require.NoError(t, err)
	public, err := operators.SigningKeys(t.Context(), c.Topology)
	require.NoError(t, err)
	score.SigningKeys = public

	options := deploy.Options{Companions: []deploy.Companion{started("smoke test", func() {
		c.run("fleet-callout", "fleet-operator", 8082)
	})}}
	job := deploy.For(score).On(c.Topology)
	plan, err := job.Plan(t.Context(), deploy.Present, options)
	require.NoError(t, err)
	require.Equal(t, 3, plan.Changes(), "the service user's key, the lists, the release: %+v", plan)
	outcome, err := job.Apply(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, 3, outcome.Changed())
	require.Equal(t, "2", c.kubectl("get", "deployment", "fleet-callout", "-o", "jsonpath={.status.readyReplicas}"))
	outcome, err = job.Apply(t.Context(), options)
	require.NoError(t, err)
	require.Zero(t, outcome.Changed(), "%+v", outcome)

	// Nothing of a plan or of Helm's record is a secret.
	text, err := json.Marshal(plan)
	require.NoError(t, err)
	manifest := c.kubectl("get", "deployment,configmap", "-o", "yaml")
	require.NotContains(t, string(text)+manifest, strings.TrimSpace(string(nkey[operator.NKeyKey])))

	// A broker that admits by other keys asks somebody else: that is found out.
	other := *score
	other.Servers = []string{natstest.Start(t, natstest.Options{}).URL()}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = deploy.For(&other).On(c.Topology).Smoke(ctx, deploy.Options{Companions: []deploy.Companion{{Observe: func(event deploy.Event) {
		if strings.Contains(event.Message, "refused a stranger without asking the callout") {
			cancel()
		}
	}}}})
	require.ErrorIs(t, err, context.Canceled)

	outcome, err = job.Destroy(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, 3, outcome.Changed())
	require.Empty(t, c.kubectl("get", "deployment,networkpolicy,pdb", "-l", "app.kubernetes.io/instance=fleet-callout", "-o", "name"))
	after, err := kube.ReadSecret(t.Context(), c.Topology, c.namespace, callout.OperatorSecret)
	require.NoError(t, err)
	require.Equal(t, nkey, after, "the broker knows the operator by it")
}
