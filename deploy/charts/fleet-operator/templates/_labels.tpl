{{- /* What selects the operator's pods; it cannot be changed by an upgrade. */}}
{{- define "fleet-operator.selector" -}}
app.kubernetes.io/name: fleet-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "fleet-operator.labels" -}}
{{ include "fleet-operator.selector" . }}
app.kubernetes.io/part-of: harmony-fleet
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
