{{/* Labels of everything: dict "root" $ "component" NAME. */}}
{{- define "todo.labels" -}}
{{ include "todo.selector" . }}
app.kubernetes.io/part-of: todo
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What pods are found by; never a version. */}}
{{- define "todo.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The colour whose pods this release describes: the active one's, unless another is made beside it. */}}
{{- define "todo.colour" -}}
{{- .Values.kubernetes.colours.renders | default .Values.kubernetes.colours.active -}}
{{- end }}

{{/* The name of what a colour has of its own; blue's is the service's. dict "root" $ "name" NAME. */}}
{{- define "todo.ofColour" -}}
{{- .name -}}{{- if ne (include "todo.colour" .root) "blue" -}}-{{ include "todo.colour" .root }}{{- end -}}
{{- end }}

{{/* How the pods of a service run, as YAML: its own settings over those of `default`. dict "root" $ "service" NAME. */}}
{{- define "todo.workload" -}}
{{- $workload := deepCopy .root.Values.kubernetes.workloads.default -}}
{{- range $key, $value := get .root.Values.kubernetes.workloads .service | default dict -}}
{{- if has $key (list "autoscaling" "service" "env") -}}
{{- range $inner, $said := $value -}}
{{- $_ := set (get $workload $key) $inner $said -}}
{{- end -}}
{{- else -}}
{{- $_ := set $workload $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $workload -}}
{{- end }}

{{/* The image of a service. dict "root" $ "service" NAME. */}}
{{- define "todo.image" -}}
{{- $images := .root.Values.kubernetes.images -}}
{{- $name := printf "%s%s" $images.prefix .service -}}
{{- if $images.registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" $images.registry) $name -}}{{- end -}}
{{- with get $images.digests .service -}}
{{- printf "%s@%s" $name . -}}
{{- else -}}
{{- printf "%s:%s" $name ($images.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{- define "todo.pullSecrets" -}}
{{- with .Values.kubernetes.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What Pod Security "restricted" asks of a pod. The user is the one that daprd insists on, and our images have the same. */}}
{{- define "todo.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "todo.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* An environment variable from a key of one of our Secrets. dict "root" $ "name" VARIABLE "secret" WHICH "key" KEY. */}}
{{- define "todo.secretVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: {name: {{ (get .root.Values.kubernetes.secrets .secret).name }}, key: {{ .key }}}
{{- end }}

{{/* Whether a service talks to Kafka through its sidecar: "true" or nothing. */}}
{{- define "todo.usesKafka" -}}
{{- if or .publishes .subscribes -}}true{{- end -}}
{{- end }}

{{/* Whether a service or its sidecar talks to PostgreSQL. */}}
{{- define "todo.usesDatabase" -}}
{{- if or .database .state -}}true{{- end -}}
{{- end }}

{{/* Whether each replica of a service reads a topic for itself. */}}
{{- define "todo.everyReplica" -}}
{{- range .subscribes }}{{ if .everyReplica }}true{{ end }}{{ end -}}
{{- end }}

{{/* host:port,… of the brokers. */}}
{{- define "todo.brokers" -}}
{{- $kafka := .Values.kubernetes.kafka -}}
{{- if $kafka.strimzi.enabled -}}
{{- printf "%s-kafka-bootstrap.%s.svc:%s" $kafka.strimzi.cluster $kafka.strimzi.namespace (include "todo.brokerPort" .) -}}
{{- else -}}
{{- $kafka.brokers -}}
{{- end -}}
{{- end }}

{{- define "todo.brokerPort" -}}
{{- ternary "9093" "9092" .Values.kubernetes.kafka.strimzi.tls -}}
{{- end }}

{{/* Every role that logs in to PostgreSQL beside the owner, as a YAML list. */}}
{{- define "todo.roles" -}}
{{- $roles := list "todo_operator" .Values.dapr.statestore.role -}}
{{- range .Values.services -}}{{- with .database -}}{{- $roles = append $roles .role -}}{{- end -}}{{- end -}}
{{- toYaml (uniq $roles) -}}
{{- end }}

{{/* The largest record that any topic takes, in bytes. */}}
{{- define "todo.largestMessage" -}}
{{- $largest := int64 .Values.kafka.maxMessageBytes -}}
{{- range .Values.topics -}}{{- $largest = max $largest (int64 (default 0 .maxMessageBytes)) -}}{{- end -}}
{{- $largest -}}
{{- end }}

{{/* Nine tenths of a memory limit as Go's GOMEMLIMIT wants it, so that it collects before the limit ends it. */}}
{{- define "todo.goMemory" -}}
{{- if hasSuffix "Gi" . -}}
{{- printf "%dMiB" (div (mul (trimSuffix "Gi" . | int) 9216) 10) -}}
{{- else if hasSuffix "Mi" . -}}
{{- printf "%dMiB" (div (mul (trimSuffix "Mi" . | int) 9) 10) -}}
{{- else -}}
{{- fail (printf "kubernetes.workloads: a sidecar's memory limit is %s; write whole Mi or Gi" .) -}}
{{- end -}}
{{- end }}

{{/* The topics that a service writes or reads, as a YAML list; the others are todoctl's own. */}}
{{- define "todo.usedTopics" -}}
{{- $topics := list -}}
{{- range .Values.services -}}
{{- $topics = concat $topics (default list .publishes) -}}
{{- range default list .subscribes -}}{{- $topics = append $topics .topic -}}{{- end -}}
{{- end -}}
{{- toYaml (uniq $topics | sortAlpha) -}}
{{- end }}
