{{/* Peers by label in this namespace. dict "root" "components" LIST. */}}
{{- define "todo.podPeers" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ .root.Chart.Name }}
      app.kubernetes.io/instance: {{ .root.Release.Name }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: {{ toJson .components }}}
{{- end }}

{{- define "todo.namespacePeer" -}}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ . }}}}
{{- end }}

{{- define "todo.ports" -}}
{{- range . }}
- {protocol: TCP, port: {{ int . }}}
{{- end }}
{{- end }}

{{/* An egress rule to addresses outside; nothing where there are none. dict "cidrs" "ports". */}}
{{- define "todo.outside" -}}
{{- if and .cidrs .ports }}
- to:
    {{- range .cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- include "todo.ports" .ports | nindent 4 }}
{{- end }}
{{- end }}

{{- define "todo.toDatabase" -}}
{{- $postgresql := .Values.kubernetes.postgresql -}}
{{- if $postgresql.development.enabled }}
- to:
    {{- include "todo.podPeers" (dict "root" . "components" (list "postgresql")) | nindent 4 }}
  ports:
    - {protocol: TCP, port: 5432}
{{- end }}
{{- include "todo.outside" $postgresql.network }}
{{- end }}

{{- define "todo.toKafka" -}}
{{- $kafka := .Values.kubernetes.kafka -}}
{{- if $kafka.strimzi.enabled }}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ $kafka.strimzi.namespace }}}}
      podSelector: {matchLabels: {strimzi.io/cluster: {{ $kafka.strimzi.cluster }}, strimzi.io/kind: Kafka}}
  ports:
    - {protocol: TCP, port: {{ include "todo.brokerPort" . }}}
{{- end }}
{{- include "todo.outside" $kafka.network }}
{{- end }}

{{/* Pods' own ports, not those of Services: policies are applied after the translation. dict "root" "service". */}}
{{- define "todo.toControlPlane" -}}
{{- $namespace := .root.Values.kubernetes.sidecars.controlPlaneNamespace -}}
{{- $flows := dict "dapr-operator" 6500 "dapr-sentry" 50001 -}}
{{- if .service.jobs }}{{ $_ := set $flows "dapr-scheduler-server" 50006 }}{{ end -}}
{{- range $app, $port := $flows }}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ $namespace }}}}
      podSelector: {matchLabels: {app: {{ $app }}}}
  ports:
    - {protocol: TCP, port: {{ $port }}}
{{- end }}
{{- end }}

{{/* What may come in to a service. dict "root" "name" "service" "open". */}}
{{- define "todo.serviceIngress" -}}
{{- $cluster := .root.Values.kubernetes -}}
{{- $callers := list -}}
{{- range $caller, $service := .root.Values.services -}}
{{- range default list $service.invokes -}}{{- if eq .service $.name -}}{{- $callers = append $callers $caller -}}{{- end -}}{{- end -}}
{{- end -}}
# helm test asks whether it is ready
- from:
    {{- include "todo.podPeers" (dict "root" .root "components" (list "test")) | nindent 4 }}
  ports:
    - {protocol: TCP, port: http}
{{- with $callers }}
# from sidecar to sidecar
- from:
    {{- include "todo.podPeers" (dict "root" $.root "components" (uniq .)) | nindent 4 }}
  ports:
    - {protocol: TCP, port: 50002}
{{- end }}
{{- if and .service.public $cluster.ingress.enabled }}
- from:
    {{- include "todo.namespacePeer" $cluster.ingress.namespace | nindent 4 }}
  ports:
    - {protocol: TCP, port: http}
{{- end }}
{{- if ne .open.type "ClusterIP" }}
# the service is open to the outside
- from:
    {{- range default (list "0.0.0.0/0") .open.sourceRanges }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    - {protocol: TCP, port: http}
{{- end }}
{{- if $cluster.monitoring.enabled }}
- from:
    {{- include "todo.namespacePeer" $cluster.monitoring.namespace | nindent 4 }}
  ports:
    - {protocol: TCP, port: http}
    - {protocol: TCP, port: 9090}
{{- end }}
{{- end }}

{{/* What a service and its sidecar may reach. dict "root" "name" "service". */}}
{{- define "todo.serviceEgress" -}}
{{- $cluster := .root.Values.kubernetes -}}
{{- include "todo.toControlPlane" . }}
{{- $called := list -}}
{{- range default list .service.invokes -}}{{- $called = append $called .service -}}{{- end -}}
{{- with $called }}
- to:
    {{- include "todo.podPeers" (dict "root" $.root "components" (uniq .)) | nindent 4 }}
  ports:
    - {protocol: TCP, port: 50002}
{{- end }}
{{- if include "todo.usesKafka" .service }}{{ include "todo.toKafka" .root }}{{ end }}
{{- if include "todo.usesDatabase" .service }}{{ include "todo.toDatabase" .root }}{{ end }}
{{- if .service.secrets }}
{{- if $cluster.mail.development.enabled }}
- to:
    {{- include "todo.podPeers" (dict "root" .root "components" (list "mailsink")) | nindent 4 }}
  ports:
    - {protocol: TCP, port: 1025}
{{- end }}
{{- include "todo.outside" $cluster.mail.network }}
# its sidecar reads Secrets
{{- include "todo.outside" $cluster.networkPolicies.apiServer }}
{{- end }}
{{- if $cluster.traceCollector.address }}{{ include "todo.outside" $cluster.traceCollector.network }}{{ end }}
{{- end }}
