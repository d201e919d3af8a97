package deploy

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	adapter "github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/zitadeltest"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/deploy/kube/kubelettest"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/deploy/operator"
	"github.com/nationtech/harmony-fleet/deploy/zitadel"
	"github.com/nationtech/harmony-fleet/deploy/zitadelsetup"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

var once = deploy.Options{Attempts: 1}

// scoreNames are those of a server side, in order.
func scoreNames() []string { return []string{"nats", "zitadel", "setup", "operator"} }

// side is a server side in a namespace of its own: the Scores, and what answers in
// the place of the containers that the cluster lacks. The broker is a real one, the
// operator is the real program, and Zitadel is emulated. They are reached by real
// forwards, through the API server and a kubelet.
type side struct {
	namespace string
	topology  *kube.Topology
	// impatient waits for pods for a short time, silent answers nowhere.
	impatient, silent bool
	charts            string
	kubelet           *kubelettest.Kubelet
	emulator          *zitadeltest.Emulator
	client, monitor   string // the broker's addresses
	operatorKey       string // a file
	operatorRuns      *fleettest.Program

	nats     *nats.FleetNatsScore
	zitadel  *zitadel.FleetZitadelScore
	setup    *zitadelsetup.FleetZitadelSetupScore
	operator *operator.FleetOperatorScore
}

func newSide(t *testing.T) *side {
	t.Helper()
	env := cluster.Get(t)
	s := &side{namespace: env.Namespace(t), kubelet: kubelettest.Start(t, env)}
	s.open(t, env.Kubeconfig)
	var err error
	s.emulator, err = zitadeltest.Start(zitadeltest.Options{Issuer: "https://sso.example"})
	require.NoError(t, err)
	t.Cleanup(s.emulator.Close)
	natsValues, err := os.ReadFile("../../deploy/nats/testdata/nats-" + nats.ChartVersion + "-values.yaml")
	require.NoError(t, err)
	zitadelValues, err := os.ReadFile("../../deploy/zitadel/testdata/zitadel-" + zitadel.ChartVersion + "-values.yaml")
	require.NoError(t, err)
	var url string
	url, s.charts = charttest.Repository(t, charttest.Nats(nats.ChartVersion, natsValues), charttest.Zitadel(zitadel.ChartVersion, zitadelValues))
	admission := s.startBroker(t)
	nkey, err := os.ReadFile(s.operatorKey)
	require.NoError(t, err)
	s.nats = &nats.FleetNatsScore{
		Devices: 10, Namespace: s.namespace, Admission: admission,
		Chart: kube.Repository{URL: url, Name: "nats", Version: nats.ChartVersion},
	}
	s.zitadel = &zitadel.FleetZitadelScore{
		Domain: "sso.example", Namespace: s.namespace, Database: zitadel.Database{DSN: []byte("postgresql://zitadel:s3cret@db.example/zitadel")},
		Chart: kube.Repository{URL: url, Name: "zitadel", Version: zitadel.ChartVersion},
	}
	s.setup = &zitadelsetup.FleetZitadelSetupScore{Issuer: s.emulator.Issuer(), Namespace: s.namespace}
	s.operator = &operator.FleetOperatorScore{
		Namespace: s.namespace, Image: "registry.example/fleet-operator:1", Servers: []string{"nats://" + s.client}, NKey: nkey,
	}
	s.connect(t)
	return s
}

// startBroker runs a broker that takes the operator's key.
func (s *side) startBroker(t *testing.T) nats.Callout {
	t.Helper()
	dir := t.TempDir()
	key := func(name string, kind adapter.KeyKind) string {
		public, err := adapter.EnsureKey(filepath.Join(dir, name), kind)
		require.NoError(t, err)
		return public
	}
	s.operatorKey = filepath.Join(dir, "operator.nk")
	admission := nats.Callout{
		Issuer: key("issuer", adapter.IssuerKey), Exchange: key("exchange", adapter.ExchangeKey), CalloutUser: key("callout", adapter.UserKey),
		SystemUser: key("system", adapter.UserKey), Operators: []string{key("operator.nk", adapter.UserKey)},
	}
	s.client, s.monitor = natstest.Serve(t, adapter.ServerConfig{
		Issuer: admission.Issuer, Exchange: admission.Exchange,
		CalloutUser: admission.CalloutUser, SystemUser: admission.SystemUser, Operators: admission.Operators,
	})
	return admission
}

// connect says what listens in the pods.
func (s *side) connect(t *testing.T) {
	t.Helper()
	for port, address := range map[int]string{4222: s.client, 8222: s.monitor, 8080: s.emulator.Address()} {
		if s.silent {
			address = ""
		}
		s.kubelet.Listen(s.namespace, "", port, address)
	}
}

func (s *side) open(t *testing.T, kubeconfig string) {
	t.Helper()
	var err error
	s.topology, err = kube.New(kube.Config{Kubeconfig: kubeconfig})
	require.NoError(t, err)
}

// overLine reaches the API server through a line that can be cut.
func (s *side) overLine(t *testing.T) *kubetest.Line {
	t.Helper()
	line := cluster.Get(t).Line(t)
	s.open(t, line.Kubeconfig)
	return line
}

// job is that of a Score.
func (s *side) job(name string) deploy.Job {
	reached := impatient{s.topology}
	switch {
	case name == "nats" && s.impatient:
		return deploy.For[nats.Cluster](s.nats).On(reached)
	case name == "nats":
		return deploy.For[nats.Cluster](s.nats).On(s.topology)
	case name == "zitadel" && s.impatient:
		return deploy.For[zitadel.Cluster](s.zitadel).On(reached)
	case name == "zitadel":
		return deploy.For[zitadel.Cluster](s.zitadel).On(s.topology)
	case name == "setup":
		return deploy.For[zitadelsetup.Cluster](s.setup).On(s.topology)
	case s.impatient:
		return deploy.For[operator.Cluster](s.operator).On(reached)
	default:
		return deploy.For[operator.Cluster](s.operator).On(s.topology)
	}
}

// prepare brings up what a Score needs.
func (s *side) prepare(t *testing.T, name string) {
	t.Helper()
	if name != "setup" {
		return
	}
	_, err := s.job("zitadel").Apply(t.Context(), once)
	require.NoError(t, err)
	// That is what the chart's job does, which runs nowhere here.
	_, err = s.clientset(t).CoreV1().Secrets(s.namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: zitadel.AdminTokenSecret}, Data: map[string][]byte{zitadel.AdminTokenKey: []byte(s.emulator.AdminToken())},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// deploy makes all of a Score's resources, and ends before it is proved.
func (s *side) deploy(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	options := once
	options.Companions = []deploy.Companion{{Observe: func(event deploy.Event) {
		if event.Step == "smoke test" {
			cancel()
		}
	}}}
	_, err := s.job(name).Apply(ctx, options)
	require.ErrorIs(t, err, context.Canceled)
}

func (s *side) clientset(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(cluster.Get(t).Config())
	require.NoError(t, err)
	return client
}

// watched adds the operator's program, which runs once its pods are there.
func (s *side) watched(t *testing.T, name string, options deploy.Options) deploy.Options {
	t.Helper()
	if name != "operator" {
		return options
	}
	options.Companions = append(slices.Clone(options.Companions), deploy.Companion{Observe: func(event deploy.Event) {
		if event.Step == "smoke test" && event.State == deploy.StateWorking && s.operatorRuns == nil && !s.silent {
			s.startOperator(t)
		}
	}})
	return options
}

func (s *side) startOperator(t *testing.T) {
	t.Helper()
	data, err := kube.ReadSecret(t.Context(), s.topology, s.namespace, "fleet-operator-signing")
	require.NoError(t, err)
	signing := filepath.Join(t.TempDir(), "signing.pem")
	require.NoError(t, os.WriteFile(signing, data["signing.pem"], 0o600))
	s.operatorRuns, err = fleettest.Start("operator", filepath.Join(bin, "fleet-operator"), []string{
		"run", "--kubernetes=" + cluster.Get(t).Kubeconfig, "--namespace", s.namespace, "--server", "nats://" + s.client,
		"--nkey-file", s.operatorKey, "--signing-key-file", signing, "--health-address=", "--identity", "op-1",
	}, nil, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.operatorRuns.Output())
		}
		require.NoError(t, s.operatorRuns.Stop(syscall.SIGTERM, timeout))
	})
}

// secrets are the keys of those that the Scores wrote, by name. Each has a value.
func (s *side) secrets(t *testing.T) map[string][]string {
	t.Helper()
	list, err := s.clientset(t).CoreV1().Secrets(s.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=" + kube.FieldManager})
	require.NoError(t, err)
	found := map[string][]string{}
	for _, secret := range list.Items {
		for key, value := range secret.Data {
			require.NotEmpty(t, value, "%s of %s", key, secret.Name)
		}
		found[secret.Name] = slices.Sorted(maps.Keys(secret.Data))
	}
	return found
}

// hidden are texts that no error may hold.
func (s *side) hidden() []string {
	return []string{"s3cret", s.emulator.AdminToken(), "a-token-of-another-zitadel", "PRIVATE KEY", string(s.operator.NKey)}
}
