package zitadel_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/deploy/zitadel"
	"github.com/nationtech/harmony-fleet/domain"
)

var once = deploy.Options{Attempts: 1}

// standIn is a chart with the upstream chart's values, and as much of its
// templates as a cluster without containers can tell apart.
func standIn(t *testing.T) charttest.Chart {
	t.Helper()
	reference, err := os.ReadFile("testdata/zitadel-9.34.0-values.yaml")
	require.NoError(t, err)
	return charttest.Zitadel(zitadel.ChartVersion, reference)
}

// provider answers as Zitadel does, in the place of the containers that the
// cluster lacks.
type provider struct {
	*kube.Topology
	address string
}

// Forward implements kube.Forwards.
func (p *provider) Forward(_ context.Context, _, _ string, port int) (string, io.Closer, error) {
	if port != 8080 {
		return "", nil, domain.Errorf(domain.ErrUnavailable, "nothing listens on port %d", port)
	}
	return p.address, io.NopCloser(nil), nil
}

// startProvider is made for one domain and port, as an instance is.
func startProvider(t *testing.T, host string) *provider {
	t.Helper()
	topology, err := kube.New(kube.Config{Kubeconfig: cluster.Get(t).Kubeconfig})
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme := r.Header.Get("X-Forwarded-Proto")
		switch {
		case r.Host != host:
			http.Error(w, `{"code":5,"message":"Instance not found"}`, http.StatusNotFound)
		case r.URL.Path == "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":"%[1]s://%[2]s","jwks_uri":"%[1]s://%[2]s/oauth/v2/keys"}`, scheme, host)
		case r.URL.Path == "/oauth/v2/keys":
			fmt.Fprint(w, `{"keys":[]}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return &provider{Topology: topology, address: strings.TrimPrefix(server.URL, "http://")}
}

func TestFleetZitadelScore(t *testing.T) {
	topology := startProvider(t, "sso.example:8443")
	namespace := cluster.Get(t).Namespace(t)
	client, err := kubernetes.NewForConfig(cluster.Get(t).Config())
	require.NoError(t, err)
	url, _ := charttest.Repository(t, standIn(t))
	score := &zitadel.FleetZitadelScore{
		Domain: "sso.example", Port: 8443, Namespace: namespace,
		Database: zitadel.Database{DSN: []byte("postgresql://zitadel:s3cret@db.example/zitadel")},
		Chart:    kube.Repository{URL: url, Name: "zitadel", Version: zitadel.ChartVersion},
	}
	require.Equal(t, "https://sso.example:8443", score.Issuer())
	job := deploy.For(score).On(topology)
	var said strings.Builder
	options := once
	options.Companions = []deploy.Companion{{Observe: func(event deploy.Event) { fmt.Fprintf(&said, "%+v\n", event) }}}
	outcome, err := job.Apply(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, 4, outcome.Changed())

	secret := func(name string) map[string][]byte {
		found, err := client.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		return found.Data
	}
	key := secret("zitadel-masterkey")["masterkey"]
	require.Len(t, key, 32)
	password := string(secret("zitadel-first-admin")["password"])
	require.Contains(t, string(secret("zitadel-first-admin")["config-yaml"]), password)
	for _, hidden := range []string{"s3cret", string(key), password} {
		require.NotContains(t, said.String(), hidden)
	}

	outcome, err = job.Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, "nothing to change: 6 as they should be, 1 check passed", outcome.Summary())

	// The keys outlive the release, and are the same when it comes again.
	_, err = job.Destroy(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, key, secret("zitadel-masterkey")["masterkey"])
	_, err = job.Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, key, secret("zitadel-masterkey")["masterkey"])

	score.Port = 443
	_, err = job.Smoke(t.Context(), once)
	require.ErrorIs(t, err, domain.ErrConflict)
	require.ErrorContains(t, err, "no instance for the domain sso.example")
}

func TestFleetZitadelScoreRefuses(t *testing.T) {
	for says, spoil := range map[string]func(*zitadel.FleetZitadelScore){
		"without scheme":        func(s *zitadel.FleetZitadelScore) { s.Domain = "https://sso.example" },
		"domain \"\"":           func(s *zitadel.FleetZitadelScore) { s.Domain = "" },
		"an address is no":      func(s *zitadel.FleetZitadelScore) { s.Domain = "192.0.2.1" },
		"port":                  func(s *zitadel.FleetZitadelScore) { s.Port = 70_000 },
		"replicas":              func(s *zitadel.FleetZitadelScore) { s.Replicas = -1 },
		"masterKey":             func(s *zitadel.FleetZitadelScore) { s.MasterKey = []byte("short") },
		"give the DSN":          func(s *zitadel.FleetZitadelScore) { s.Database.DSN = nil },
		"needs a password":      func(s *zitadel.FleetZitadelScore) { s.Database = zitadel.Database{Bundled: &zitadel.Bundled{}} },
		"ingress has a certifi": func(s *zitadel.FleetZitadelScore) { s.Insecure, s.Ingress = true, &zitadel.Ingress{TLSSecret: "tls"} },
	} {
		score := &zitadel.FleetZitadelScore{Domain: "sso.example", Database: zitadel.Database{DSN: []byte("dsn")}}
		spoil(score)
		_, err := score.Resources(&provider{})
		require.ErrorIs(t, err, domain.ErrInvalid, says)
		require.ErrorContains(t, err, says)
	}
}

func TestValuesAreThoseOfTheUpstreamChart(t *testing.T) {
	reference, err := os.ReadFile("testdata/zitadel-9.34.0-values.yaml")
	require.NoError(t, err)
	// What the file says of the runtime configuration: anything can stand there.
	require.Contains(t, string(reference), "values are passed directly to the ZITADEL binary and control its behavior")
	external := zitadel.Database{DSN: []byte("postgresql://zitadel:s3cret@db.example/zitadel"), CA: []byte("pem")}
	for name, score := range map[string]*zitadel.FleetZitadelScore{
		"external": {Domain: "sso.example", Database: external},
		"ingress": {
			Domain: "sso.example", Database: external, Replicas: 3, ImageRegistry: "mirror.example",
			Ingress: &zitadel.Ingress{Class: "nginx", TLSSecret: "sso-tls", Annotations: map[string]string{"a": "b"}},
		},
		"bundled": {Domain: "sso.example", Insecure: true, Port: 8080, Replicas: 1, Database: zitadel.Database{
			Bundled: &zitadel.Bundled{Password: []byte("one"), AdminPassword: []byte("two")},
		}},
	} {
		resources, err := score.Resources(&provider{})
		require.NoError(t, err, name)
		release, ok := resources[len(resources)-1].(*kube.Release)
		require.True(t, ok)
		require.Empty(t, charttest.UnknownKeys(t, reference, release.Values, "zitadel.configmapConfig"), name)
		text, err := json.Marshal(release.Values)
		require.NoError(t, err)
		require.NotContains(t, string(text), "s3cret", name)
	}
}
