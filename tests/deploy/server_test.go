package deploy

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/zitadeltest"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/callout"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/deploy/operator"
	"github.com/nationtech/harmony-fleet/deploy/server"
	"github.com/nationtech/harmony-fleet/deploy/zitadel"
)

// runBroker runs a broker from the very text that the cluster's Secret has, in the
// place of the pod's container.
func (c *containers) runBroker(clients string) {
	c.t.Helper()
	data, err := kube.ReadSecret(c.t.Context(), c.Topology, c.namespace, "nats-auth")
	require.NoError(c.t, err)
	options := &natsserver.Options{}
	require.NoError(c.t, options.ProcessConfigString(string(data["auth.conf"])))
	address, err := net.ResolveTCPAddr("tcp", clients)
	require.NoError(c.t, err)
	options.ServerName, options.Host, options.Port = "nats-0", "127.0.0.1", address.Port
	options.HTTPHost, options.HTTPPort = "127.0.0.1", natsserver.RANDOM_PORT
	options.JetStream, options.StoreDir, options.NoSigs, options.NoLog = true, c.t.TempDir(), true, true
	broker, err := natsserver.NewServer(options)
	require.NoError(c.t, err)
	go broker.Start()
	require.True(c.t, broker.ReadyForConnections(time.Minute))
	c.t.Cleanup(func() { broker.Shutdown(); broker.WaitForShutdown() })
	for _, pod := range c.pods("nats") {
		c.kubelet.Listen(c.namespace, pod, 4222, clients)
		c.kubelet.Listen(c.namespace, pod, 8222, broker.MonitorAddr().String())
	}
}

// runZitadel serves the emulator in Zitadel's pods, and makes the Secret that the
// chart's setup makes.
func (c *containers) runZitadel(emulator *zitadeltest.Emulator) {
	c.t.Helper()
	for _, pod := range c.pods("zitadel") {
		c.kubelet.Listen(c.namespace, pod, zitadel.APIPort, emulator.Address())
	}
	client, err := kubernetes.NewForConfig(cluster.Get(c.t).Config())
	require.NoError(c.t, err)
	_, err = client.CoreV1().Secrets(c.namespace).Create(c.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: zitadel.AdminTokenSecret}, Data: map[string][]byte{zitadel.AdminTokenKey: []byte(emulator.AdminToken())},
	}, metav1.CreateOptions{})
	require.NoError(c.t, err)
}

// standIn is a chart in the place of an upstream one.
func standIn(t *testing.T, chart func(version string, values []byte) charttest.Chart, name, version string) kube.ChartSource {
	t.Helper()
	values, err := os.ReadFile(filepath.Join("../../deploy", name, "testdata", name+"-"+version+"-values.yaml"))
	require.NoError(t, err)
	return kube.Archive{Path: chart(version, values).Archive(t, t.TempDir())}
}

// TestServer brings up the whole server side from one description, with keys that
// are made in the cluster and the real programs with what the charts gave them.
func TestServer(t *testing.T) {
	c := newContainers(t)
	emulator, err := zitadeltest.Start(zitadeltest.Options{Listen: "localhost:0", Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(emulator.Close)
	domain, text, _ := strings.Cut(strings.TrimPrefix(emulator.Issuer(), "http://"), ":")
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	clients := natstest.FreeAddress(t)

	score := &server.FleetServerScore{
		Namespace: c.namespace, Devices: 1000, Image: "registry.example/fleet-operator:1",
		Nats: &nats.FleetNatsScore{Chart: standIn(t, charttest.Nats, "nats", nats.ChartVersion)},
		Zitadel: &zitadel.FleetZitadelScore{
			Chart: standIn(t, charttest.Zitadel, "zitadel", zitadel.ChartVersion), Domain: domain, Port: port, Insecure: true, Database: zitadel.Database{DSN: []byte("postgresql://db")},
		},
		Operator: &operator.FleetOperatorScore{Servers: []string{"nats://" + clients}},
		Callout:  &callout.FleetCalloutScore{},
	}

	job := deploy.For(score).On(c.Topology)
	first := deploy.Options{Companions: []deploy.Companion{
		after("zitadel: release", func() { c.runZitadel(emulator) }),
		after("nats: release", func() { c.runBroker(clients) }),
		after("operator: release", func() {
			c.run("fleet-operator", "fleet-operator", 8081, "--kubernetes="+cluster.Get(t).Kubeconfig, "--metrics-address=")
		}),
		after("callout: release", func() { c.run("fleet-callout", "fleet-operator", 8082) }),
	}}
	plan, err := job.Plan(t.Context(), deploy.Present, deploy.Options{})
	require.NoError(t, err)
	require.Greater(t, plan.Changes(), 15, "%+v", plan)

	// The run is cut off once the broker is there, and goes on.
	ctx, cancel := context.WithCancel(t.Context())
	interrupted := first
	interrupted.Companions = append(interrupted.Companions, after("nats: release", cancel))
	began := time.Now()
	_, err = job.Apply(ctx, interrupted)
	require.ErrorIs(t, err, context.Canceled)
	spent := time.Since(began)
	keys := c.keys()

	began = time.Now()
	outcome, err := job.Apply(t.Context(), first)
	require.NoError(t, err)
	t.Logf("brought up in %s, an interruption among it: %s", (spent + time.Since(began)).Round(time.Second), outcome.Summary())
	require.Equal(t, keys, c.keys(), "what was made before is kept")

	began = time.Now()
	outcome, err = job.Apply(t.Context(), deploy.Options{})
	require.NoError(t, err)
	require.Zero(t, outcome.Changed(), "%+v", outcome)
	require.Contains(t, outcome.Summary(), "nothing to change")
	t.Logf("the second run took %s: %s", time.Since(began).Round(time.Second), outcome.Summary())

	_, err = job.Destroy(t.Context(), deploy.Options{})
	require.NoError(t, err)
	require.Empty(t, c.kubectl("get", "deployment,statefulset,networkpolicy", "-o", "name"))
	require.Equal(t, keys, c.keys())
}

// keys are the Secrets that stay.
func (c *containers) keys() string {
	c.t.Helper()
	return c.kubectl("get", "secret", "fleet-callout-keys", "fleet-operator-nkey", "-o", "jsonpath={.items[*].data}")
}

// after is a companion that does something once a step has changed something.
func after(step string, do func()) deploy.Companion {
	return deploy.Companion{Name: step, Observe: func(event deploy.Event) {
		if strings.HasPrefix(event.Step, step) && event.State == deploy.StateChanged {
			do()
		}
	}}
}
