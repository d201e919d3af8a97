package charttest

// Nats is a chart with the values of the upstream chart, which are given, and as
// much of its templates as a cluster without containers can tell apart.
func Nats(version string, values []byte) Chart {
	return Chart{
		Name: "nats", Version: version, Values: string(values),
		Templates: map[string]string{
			"config.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-config}
data:
  nats.conf: {{ .Values.config.merge | toJson | quote }}
`,
			"service.yaml": `apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {app.kubernetes.io/instance: {{ .Release.Name }}}
  ports: [{name: nats, port: {{ .Values.config.nats.port }}}]
`,
			"statefulset.yaml": `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ if .Values.config.cluster.enabled }}{{ .Values.config.cluster.replicas }}{{ else }}1{{ end }}
  serviceName: {{ .Release.Name }}
  podManagementPolicy: Parallel
  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app.kubernetes.io/instance: {{ .Release.Name }}}
      annotations: {{ .Values.podTemplate.merge.metadata.annotations | toJson }}
    spec:
      containers:
        - name: nats
          image: "{{ .Values.container.image.repository }}:{{ .Values.container.image.tag }}"
          resources: {{ .Values.container.resources | toJson }}
          volumeMounts: [{{ (index .Values.container.patch 0).value | toJson }}]
      volumes: [{{ (index .Values.podTemplate.patch 0).value | toJson }}]
`,
		},
	}
}

// Zitadel is the same of the chart of Zitadel.
func Zitadel(version string, values []byte) Chart {
	return Chart{
		Name: "zitadel", Version: version, Values: string(values),
		Templates: map[string]string{
			"config.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-config}
data:
  config: {{ .Values.zitadel.configmapConfig | toJson | quote }}
`,
			"setup.yaml": `apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-setup
  annotations: {{ .Values.setupJob.annotations | toJson }}
spec:
  template:
    metadata: {labels: {app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/component: setup}}
    spec:
      restartPolicy: Never
      containers: [{name: setup, image: "{{ .Values.image.repository }}"}]
`,
			"service.yaml": `apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {app.kubernetes.io/instance: {{ .Release.Name }}}
  ports: [{name: http2, port: {{ .Values.service.port }}}]
`,
			"deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicaCount }}
  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
    spec:
      containers:
        - name: zitadel
          image: "{{ .Values.image.repository }}"
          env: {{ .Values.env | toJson }}
`,
		},
	}
}
