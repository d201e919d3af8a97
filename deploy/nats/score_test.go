package nats_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	adapter "github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/domain"
)

var once = deploy.Options{Attempts: 1}

func TestFleetNatsScore(t *testing.T) {
	admission := callout(t)
	topology := startBroker(t, admission, nil)
	namespace := cluster.Get(t).Namespace(t)
	client, err := kubernetes.NewForConfig(cluster.Get(t).Config())
	require.NoError(t, err)
	url, dir := charttest.Repository(t, standIn(t))
	score := &nats.FleetNatsScore{
		Devices: 1000, Admission: admission, Namespace: namespace,
		Chart: kube.Repository{
			URL: url, Name: "nats", Version: nats.ChartVersion,
			Digest: charttest.Digest(t, dir+"/nats-"+nats.ChartVersion+".tgz"),
		},
	}
	job := deploy.For(score).On(topology)
	plan, err := job.Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Equal(t, 3, plan.Changes()) // the namespace was there

	outcome, err := job.Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 3, outcome.Changed())
	secret, err := client.CoreV1().Secrets(namespace).Get(t.Context(), "nats-auth", metav1.GetOptions{})
	require.NoError(t, err)
	require.Contains(t, string(secret.Data["auth.conf"]), "auth_callout {")

	outcome, err = job.Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, "nothing to change: 5 as they should be, 1 check passed", outcome.Summary())

	// Another operator is admitted: the servers start anew.
	more := callout(t)
	admission.Operators = append(admission.Operators, more.Operators...)
	score.Admission = admission
	plan, err = job.Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Equal(t, 2, plan.Changes())
	for _, step := range plan.Steps {
		for _, line := range step.Change.Details {
			require.NotContains(t, line, more.Operators[0])
		}
	}
	_, err = job.Apply(t.Context(), once)
	require.NoError(t, err)

	outcome, err = job.Destroy(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 3, outcome.Changed())
	_, err = client.CoreV1().Secrets(namespace).Get(t.Context(), "nats-auth", metav1.GetOptions{})
	require.Error(t, err)
}

func TestSmokeNamesWhatIsWrong(t *testing.T) {
	admission := callout(t)
	topology := startBroker(t, admission, nil)
	namespace := cluster.Get(t).Namespace(t)
	score := &nats.FleetNatsScore{
		Devices: 10, Admission: admission, Namespace: namespace,
		Chart: kube.Archive{Path: standIn(t).Archive(t, t.TempDir())},
		TLS:   &nats.TLS{Host: "broker.example", Certificate: []byte("c"), Key: []byte("k")},
	}
	_, err := deploy.For(score).Apply(t.Context(), topology, once)
	require.ErrorContains(t, err, "smoke test: server nats-0: TLS required: false")
	require.ErrorIs(t, err, domain.ErrConflict)
}

func TestFleetNatsScoreRefuses(t *testing.T) {
	valid := func() *nats.FleetNatsScore {
		return &nats.FleetNatsScore{Devices: 10, Admission: callout(t)}
	}
	for says, spoil := range map[string]func(*nats.FleetNatsScore){
		"devices":               func(s *nats.FleetNatsScore) { s.Devices = 0 },
		"neither 1 nor 3":       func(s *nats.FleetNatsScore) { s.Replicas = 2 },
		"admission":             func(s *nats.FleetNatsScore) { s.Admission = nil },
		"leafNodes":             func(s *nats.FleetNatsScore) { s.LeafNodes = true },
		"lets clients in":       func(s *nats.FleetNatsScore) { s.Service.Type = corev1.ServiceTypeLoadBalancer },
		"tls.host":              func(s *nats.FleetNatsScore) { s.TLS = &nats.TLS{SecretName: "tls"} },
		"not both":              func(s *nats.FleetNatsScore) { s.TLS = &nats.TLS{Host: "h"} },
		"needs its key":         func(s *nats.FleetNatsScore) { s.TLS = &nats.TLS{Host: "h", Certificate: []byte("c")} },
		"name \"Fleet\"":        func(s *nats.FleetNatsScore) { s.Namespace = "Fleet" },
		"is not the public key": func(s *nats.FleetNatsScore) { c := callout(t); c.Issuer = "none"; s.Admission = c },
		"at least one user":     func(s *nats.FleetNatsScore) { s.Admission = nats.Users{} },
	} {
		score := valid()
		spoil(score)
		_, err := score.Resources(&broker{})
		require.ErrorIs(t, err, domain.ErrInvalid, says)
		require.ErrorContains(t, err, says)
	}
}

func users() nats.Users {
	return nats.Users{Users: []adapter.StaticUser{
		{Name: "operator", Password: "s3cret-of-operator", Permissions: adapter.OperatorPermissions()},
		{Name: "pi-1", Password: "s3cret-of-pi", Permissions: adapter.DevicePermissions("pi-1")},
	}}
}
