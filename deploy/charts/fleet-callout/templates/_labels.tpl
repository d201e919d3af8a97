{{- /* What selects the pods of the callout; it cannot be changed by an upgrade. */}}
{{- define "fleet-callout.selector" -}}
app.kubernetes.io/name: fleet-callout
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "fleet-callout.labels" -}}
{{ include "fleet-callout.selector" . }}
app.kubernetes.io/part-of: harmony-fleet
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
