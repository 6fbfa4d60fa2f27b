{{/* How every component reaches Kafka. Dapr's own words for it: docs.dapr.io, setup-apache-kafka. */}}
{{- define "todo.kafkaConnection" -}}
{{- $kafka := .Values.kubernetes.kafka -}}
{{- $secret := .Values.kubernetes.secrets.kafka.name -}}
- {name: brokers, value: {{ include "todo.brokers" . | quote }}}
{{- if eq $kafka.security "PLAINTEXT" }}
- {name: authType, value: none}
{{- else }}
- {name: authType, value: password}
- {name: saslMechanism, value: {{ $kafka.mechanism | replace "PLAIN" "PLAINTEXT" }}}
- name: saslUsername
  secretKeyRef: {name: {{ $secret }}, key: username}
- name: saslPassword
  secretKeyRef: {name: {{ $secret }}, key: password}
{{- if eq $kafka.security "SASL_PLAINTEXT" }}
- {name: disableTls, value: "true"}
{{- else if $kafka.ownAuthority }}
- name: caCert
  secretKeyRef: {name: {{ $secret }}, key: ca.crt}
{{- end }}
{{- end }}
{{- end }}

{{/* Settings that the whole platform shares, less those that one component says in its own way. dict "metadata" "without". */}}
{{- define "todo.metadata" -}}
{{- range $key, $value := omit .metadata (.without | default "") }}
- {name: {{ $key }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{/* Topic rights: app=topic,topic;app=… for all apps that use Kafka, because Dapr allows everything to one not named. */}}
{{- define "todo.topicScopes" -}}
{{- $scopes := list -}}
{{- range $name, $service := .root.Values.services -}}
{{- if include "todo.usesKafka" $service -}}
{{- $topics := list -}}
{{- if eq $.kind "publishes" -}}
{{- $topics = default list $service.publishes -}}
{{- else -}}
{{- range default list $service.subscribes -}}{{- if not .everyReplica -}}{{- $topics = append $topics .topic -}}{{- end -}}{{- end -}}
{{- end -}}
{{- $scopes = append $scopes (printf "%s=%s" $name (join "," $topics)) -}}
{{- end -}}
{{- end -}}
{{- join ";" $scopes -}}
{{- end }}

{{- define "todo.pubsub" -}}
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {{ .Values.dapr.pubsub.name }}
  labels:
    {{- include "todo.labels" (dict "root" . "component" "dapr") | nindent 4 }}
auth: {secretStore: kubernetes}
spec:
  type: pubsub.kafka
  version: v1
  # Dapr's own 5 s are short for a broker at the other end of a region, and a sidecar ends when they are over.
  initTimeout: 30s
  metadata:
    {{- include "todo.kafkaConnection" . | nindent 4 }}
    {{- include "todo.metadata" (dict "metadata" .Values.dapr.pubsub.metadata) | nindent 4 }}
    - {name: maxMessageBytes, value: {{ include "todo.largestMessage" . | quote }}}
    - {name: allowedTopics, value: {{ keys .Values.topics | sortAlpha | join "," | quote }}}
    - {name: publishingScopes, value: {{ include "todo.topicScopes" (dict "root" . "kind" "publishes") | quote }}}
    - {name: subscriptionScopes, value: {{ include "todo.topicScopes" (dict "root" . "kind" "subscribes") | quote }}}
scopes:
  {{- range $name, $service := .Values.services }}
  {{- if include "todo.usesKafka" $service }}
  - {{ $name }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* The second component of an app whose replicas each read everything: a group for each, from its start on. */}}
{{- define "todo.replicaPubsub" -}}
{{- $topics := list -}}
{{- range (get .root.Values.services .name).subscribes -}}{{- if .everyReplica -}}{{- $topics = append $topics .topic -}}{{- end -}}{{- end -}}
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {{ .root.Values.dapr.pubsub.name }}-{{ .name }}
  labels:
    {{- include "todo.labels" (dict "root" .root "component" "dapr") | nindent 4 }}
auth: {secretStore: kubernetes}
spec:
  type: pubsub.kafka
  version: v1
  # Dapr's own 5 s are short for a broker at the other end of a region, and a sidecar ends when they are over.
  initTimeout: 30s
  metadata:
    {{- include "todo.kafkaConnection" .root | nindent 4 }}
    {{- include "todo.metadata" (dict "metadata" .root.Values.dapr.pubsub.metadata "without" "initialOffset") | nindent 4 }}
    - {name: consumerGroup, value: "{{ .name }}-{podName}"}
    - {name: initialOffset, value: newest}
    - {name: maxMessageBytes, value: {{ int64 .root.Values.kafka.maxMessageBytes | toString | quote }}}
    - {name: allowedTopics, value: {{ join "," $topics | quote }}}
    - {name: publishingScopes, value: "{{ .name }}="}
    - {name: subscriptionScopes, value: "{{ .name }}={{ join "," $topics }}"}
scopes: [{{ .name }}]
{{- end }}

{{- define "todo.statestore" -}}
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {{ .Values.dapr.statestore.name }}
  labels:
    {{- include "todo.labels" (dict "root" . "component" "dapr") | nindent 4 }}
auth: {secretStore: kubernetes}
spec:
  type: state.postgresql
  version: v2
  initTimeout: 30s
  metadata:
    {{- include "todo.metadata" (dict "metadata" .Values.dapr.statestore.metadata) | nindent 4 }}
    - {name: tablePrefix, value: {{ .Values.dapr.statestore.tablePrefix }}}
    - name: connectionString
      secretKeyRef: {name: {{ .Values.kubernetes.secrets.database.name }}, key: {{ .Values.dapr.statestore.role }}}
scopes:
  {{- range $name, $service := .Values.services }}
  {{- if $service.state }}
  - {{ $name }}
  {{- end }}
  {{- end }}
{{- end }}

{{- define "todo.secretstore" -}}
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {{ .Values.dapr.secretstore.name }}
  labels:
    {{- include "todo.labels" (dict "root" . "component" "dapr") | nindent 4 }}
spec:
  type: secretstores.kubernetes
  version: v1
  metadata:
    {{- include "todo.metadata" (dict "metadata" (default dict .Values.dapr.secretstore.metadata)) | nindent 4 }}
    - {name: defaultNamespace, value: {{ .Release.Namespace }}}
scopes:
  {{- range $name, $service := .Values.services }}
  {{- if $service.secrets }}
  - {{ $name }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* Everything of one app's sidecar but the shared components. dict "root" "name". */}}
{{- define "todo.configuration" -}}
{{- $values := .root.Values -}}
{{- $sidecars := $values.kubernetes.sidecars -}}
{{- $collector := $values.kubernetes.traceCollector -}}
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: {{ .name }}
  labels:
    {{- include "todo.labels" (dict "root" .root "component" .name) | nindent 4 }}
spec:
  mtls:
    enabled: true
    workloadCertTTL: {{ $sidecars.workloadCertTtl }}
    allowedClockSkew: 15m
    sentryAddress: dapr-sentry.{{ $sidecars.controlPlaneNamespace }}.svc:443
    controlPlaneTrustDomain: {{ $sidecars.controlPlaneTrustDomain }}
  tracing:
    samplingRate: {{ $values.dapr.tracing.samplingRate | toString | quote }}
    {{- if and $collector.address (eq $collector.protocol "zipkin") }}
    zipkin: {endpointAddress: {{ $collector.address | quote }}}
    {{- else if $collector.address }}
    otel: {endpointAddress: {{ $collector.address | quote }}, isSecure: {{ $collector.secure }}, protocol: {{ $collector.protocol }}}
    {{- end }}
  # Services of our own, which lead to one colour: with two Deployments of one app id Dapr turns its own back and forth.
  nameResolution:
    component: kubernetes
    version: v1
    configuration: {template: {{ "{{.ID}}-sidecar.{{.Namespace}}.svc:{{.Port}}" | quote }}}
  # A label for each path would give a series for each task.
  metrics: {enabled: true, http: {increasedCardinality: false}}
  secrets:
    scopes:
      - storeName: {{ $values.dapr.secretstore.name }}
        defaultAccess: deny
        allowedSecrets: {{ default list (get $values.services .name).secrets | toJson }}
  accessControl:
    defaultAction: deny
    trustDomain: {{ $sidecars.trustDomain }}
    {{- $policies := include "todo.callers" . }}
    {{- if $policies }}
    policies:
      {{- $policies | nindent 6 }}
    {{- else }}
    policies: []
    {{- end }}
{{- end }}

{{/* Who may call this app, and what. dict "root" "name". */}}
{{- define "todo.callers" -}}
{{- range $caller, $service := .root.Values.services }}
{{- $calls := list }}
{{- range default list $service.invokes }}{{ if eq .service $.name }}{{ $calls = append $calls . }}{{ end }}{{ end }}
{{- if $calls }}
- appId: {{ $caller }}
  namespace: {{ $.root.Release.Namespace }}
  trustDomain: {{ $.root.Values.kubernetes.sidecars.trustDomain }}
  defaultAction: deny
  operations:
    {{- range $call := $calls }}
    {{- range $call.paths }}
    - {name: {{ . | quote }}, httpVerb: {{ default (list "GET") $call.verbs | toJson }}, action: allow}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The subscriptions of an app: raw payloads, no dead-letter topic, because our code decides on failures. */}}
{{- define "todo.subscriptions" -}}
{{- range default list (get .root.Values.services .name).subscribes }}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata:
  name: {{ $.name }}-{{ .topic }}
  labels:
    {{- include "todo.labels" (dict "root" $.root "component" $.name) | nindent 4 }}
spec:
  pubsubname: {{ $.root.Values.dapr.pubsub.name }}{{ if .everyReplica }}-{{ $.name }}{{ end }}
  topic: {{ .topic }}
  routes: {default: {{ .route }}}
  metadata: {rawPayload: "true"}
  {{- with .bulk }}
  bulkSubscribe: {enabled: true, maxMessagesCount: {{ int .maxMessages }}, maxAwaitDurationMs: {{ int .maxAwaitMs }}}
  {{- end }}
scopes: [{{ $.name }}]
{{- end }}
{{- end }}

{{- define "todo.resiliency" -}}
{{- $resiliency := .Values.kubernetes.resiliency -}}
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: todo
  labels:
    {{- include "todo.labels" (dict "root" . "component" "dapr") | nindent 4 }}
spec:
  policies:
    timeouts:
      answer: {{ int $resiliency.timeoutSeconds }}s
  targets:
    # No retry: who calls knows what may be said twice. No circuit breaker: every answer of 4xx counts as a failure there, so
    # that wrong passwords would close the door for all. No inbound policy: our consumers decide on failures.
    apps:
      {{- range $name, $_ := .Values.services }}
      {{ $name }}: {timeout: answer}
      {{- end }}
    components:
      {{ .Values.dapr.statestore.name }}:
        outbound: {timeout: answer}
scopes:
  {{- range $name, $_ := .Values.services }}
  - {{ $name }}
  {{- end }}
{{- end }}

{{/* Everything that an app's sidecar reads at its start, for a checksum. dict "root" "name". */}}
{{- define "todo.daprResources" -}}
{{- include "todo.configuration" . }}
{{- include "todo.subscriptions" . }}
{{- include "todo.resiliency" .root }}
{{- $service := get .root.Values.services .name }}
{{- if include "todo.usesKafka" $service }}{{ include "todo.pubsub" .root }}{{ end }}
{{- if include "todo.everyReplica" $service }}{{ include "todo.replicaPubsub" . }}{{ end }}
{{- if $service.state }}{{ include "todo.statestore" .root }}{{ end }}
{{- if $service.secrets }}{{ include "todo.secretstore" .root }}{{ end }}
{{- end }}

{{/* Of what this release says about Secrets; one that somebody else makes is not seen from here. */}}
{{- define "todo.secretsChecksum" -}}
{{- .Values.kubernetes.secrets | toJson | sha256sum -}}
{{- end }}
