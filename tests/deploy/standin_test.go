package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/deploy/zitadel"
)

// standIn is a chart in the place of an upstream one, with the values of that
// version and what a cluster without containers can tell apart: a service, and
// pods that name the Secrets and change with their stamps.
func standIn(t *testing.T, name, version, template string) kube.ChartSource {
	t.Helper()
	values, err := os.ReadFile(filepath.Join("../../deploy", name, "testdata", name+"-"+version+"-values.yaml"))
	require.NoError(t, err)
	chart := charttest.Chart{Name: name, Version: version, Values: string(values), Templates: map[string]string{"all.yaml": template}}
	return kube.Archive{Path: chart.Archive(t, t.TempDir())}
}

func natsChart(t *testing.T) kube.ChartSource {
	return standIn(t, "nats", nats.ChartVersion, `apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {app.kubernetes.io/instance: {{ .Release.Name }}}
  ports: [{name: nats, port: {{ .Values.config.nats.port }}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: {{ .Release.Name }}}
spec:
  serviceName: {{ .Release.Name }}
  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app.kubernetes.io/instance: {{ .Release.Name }}}
      annotations: {{ .Values.podTemplate.merge.metadata.annotations | toJson }}
    spec:
      containers:
        - name: nats
          image: "{{ .Values.container.image.repository }}:{{ .Values.container.image.tag }}"
          volumeMounts: [{{ (index .Values.container.patch 0).value | toJson }}]
      volumes: [{{ (index .Values.podTemplate.patch 0).value | toJson }}]
`)
}

func zitadelChart(t *testing.T) kube.ChartSource {
	return standIn(t, "zitadel", zitadel.ChartVersion, `apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {app.kubernetes.io/instance: {{ .Release.Name }}}
  ports: [{name: http2, port: {{ .Values.service.port }}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicaCount }}
  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
    spec:
      containers: [{name: zitadel, image: "{{ .Values.image.repository }}"}]
`)
}
