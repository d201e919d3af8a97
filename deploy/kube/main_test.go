package kube_test

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
)

// cluster is that of all tests in this package.
var cluster = kubetest.NewShared(kubetest.Options{Cluster: true, WithoutCRDs: true})

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, cluster)) }

func topology(t *testing.T) *kube.Topology {
	t.Helper()
	opened, err := kube.New(kube.Config{Kubeconfig: cluster.Get(t).Kubeconfig})
	require.NoError(t, err)
	return opened
}

// score is a Score of resources alone.
type score struct {
	resources []deploy.Resource
}

func (s *score) Name() string                                        { return "test" }
func (s *score) Resources(*kube.Topology) ([]deploy.Resource, error) { return s.resources, nil }
func (s *score) Smoke(context.Context, *kube.Topology, deploy.Progress) error {
	return nil
}

// job brings up resources in the test's cluster.
func job(topology *kube.Topology, resources ...deploy.Resource) deploy.Job {
	return deploy.For(&score{resources: resources}).On(topology)
}

// once is a run without retries.
var once = deploy.Options{Attempts: 1}

// web is a small chart of the kind that is deployed.
func web(version string) charttest.Chart {
	return charttest.Chart{
		Name: "web", Version: version,
		Values: "replicas: 1\nnode: \"\"\ngreeting: hello\n",
		Templates: map[string]string{
			"config.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  greeting: {{ .Values.greeting }} from {{ .Chart.Version }}
`,
			"deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
    spec:
      {{- with .Values.node }}
      nodeSelector: {kubernetes.io/hostname: {{ . }}}
      {{- end }}
      containers:
        - name: web
          image: web:{{ .Chart.Version }}
          resources: {requests: {cpu: 1000m}}
          ports: [{containerPort: 80}]
`,
		},
	}
}
