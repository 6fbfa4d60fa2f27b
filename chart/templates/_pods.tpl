{{/* The annotations that Dapr's injector makes a sidecar from. dict "root" "name" "service" "workload". */}}
{{- define "todo.sidecarAnnotations" -}}
{{- $dapr := .root.Values.dapr -}}
{{- $sidecars := .root.Values.kubernetes.sidecars -}}
{{- $secrets := .root.Values.kubernetes.secrets -}}
dapr.io/enabled: "true"
dapr.io/app-id: {{ .name }}
dapr.io/app-port: {{ int .service.port | quote }}
dapr.io/app-protocol: http
dapr.io/config: {{ .name }}
dapr.io/log-level: {{ $dapr.logLevel }}
dapr.io/log-as-json: "true"
dapr.io/enable-metrics: "true"
dapr.io/metrics-port: "9090"
dapr.io/max-body-size: 16Mi
dapr.io/api-token-secret: {{ $secrets.daprToken.name }}
dapr.io/app-token-secret: {{ $secrets.appToken.name }}
dapr.io/disable-builtin-k8s-secret-store: "true"
dapr.io/sidecar-seccomp-profile-type: RuntimeDefault
dapr.io/sidecar-cpu-request: {{ .workload.sidecar.requests.cpu | quote }}
dapr.io/sidecar-cpu-limit: {{ .workload.sidecar.limits.cpu | quote }}
dapr.io/sidecar-memory-request: {{ .workload.sidecar.requests.memory | quote }}
dapr.io/sidecar-memory-limit: {{ .workload.sidecar.limits.memory | quote }}
# It listens only once the control plane has answered and its components are open; a slow one is no reason to end it.
dapr.io/sidecar-liveness-probe-timeout-seconds: "5"
dapr.io/sidecar-liveness-probe-threshold: "10"
dapr.io/sidecar-readiness-probe-timeout-seconds: "5"
dapr.io/env: GOMEMLIMIT={{ include "todo.goMemory" .workload.sidecar.limits.memory }}
# Told to stop, it stops reading topics at once and serves the service until that is done.
dapr.io/block-shutdown-duration: {{ include "todo.serviceSeconds" .workload }}s
dapr.io/graceful-shutdown-seconds: {{ int $sidecars.shutdownSeconds | quote }}
# The idle colour answers "no" there: its sidecar takes no events, no jobs and no calls until it is switched on. An answer that
# comes late never turns it off again, because 1.16 counts failures without end.
dapr.io/enable-app-health-check: "true"
dapr.io/app-health-check-path: /workz
dapr.io/app-health-probe-interval: "1"
dapr.io/app-health-probe-timeout: "1000"
dapr.io/app-health-threshold: "1000000000"
# One space keeps the injector from filling an address in: nobody has actors, and few have jobs.
dapr.io/placement-host-address: " "
{{- if not .service.jobs }}
dapr.io/scheduler-host-address: " "
{{- end }}
{{- with $sidecars.image }}
dapr.io/sidecar-image: {{ . }}
{{- end }}
{{- if .service.secrets }}
dapr.io/volume-mounts: api-server-token:/var/run/secrets/kubernetes.io/serviceaccount
{{- end }}
# A sidecar reads its resources when it starts.
checksum/dapr: {{ include "todo.daprResources" (dict "root" .root "name" .name) | sha256sum }}
checksum/secrets: {{ include "todo.secretsChecksum" .root }}
{{- end }}

{{/* How long a service may need to stop, its drain included, in seconds. */}}
{{- define "todo.serviceSeconds" -}}
{{- add (int .drainSeconds) (int .gracefulSeconds) 2 -}}
{{- end }}

{{/* How long a pod gets in all. dict "root" "workload". */}}
{{- define "todo.graceSeconds" -}}
{{- add (include "todo.serviceSeconds" .workload | int) (int .root.Values.kubernetes.sidecars.shutdownSeconds) 5 -}}
{{- end }}

{{/* The environment of a service. dict "root" "name" "service" "workload". */}}
{{- define "todo.serviceEnvironment" -}}
{{- $values := .root.Values -}}
- {name: SERVICE_NAME, value: {{ .name }}}
- {name: HOST, value: 0.0.0.0}
- {name: PORT, value: {{ int .service.port | quote }}}
- {name: DAPR_HTTP_PORT, value: "3500"}
- {name: PUBSUB_NAME, value: {{ $values.dapr.pubsub.name }}}
- {name: STATE_STORE_NAME, value: {{ $values.dapr.statestore.name }}}
- {name: SECRET_STORE_NAME, value: {{ $values.dapr.secretstore.name }}}
- {name: COLOUR_FILE, value: /etc/todo/colours/{{ include "todo.colour" .root }}}
- {name: DRAIN_SECONDS, value: {{ int .workload.drainSeconds | quote }}}
- {name: GRACEFUL_SECONDS, value: {{ int .workload.gracefulSeconds | quote }}}
{{ include "todo.secretVariable" (dict "root" .root "name" "DAPR_API_TOKEN" "secret" "daprToken" "key" "token") }}
{{ include "todo.secretVariable" (dict "root" .root "name" "APP_API_TOKEN" "secret" "appToken" "key" "token") }}
{{ include "todo.secretVariable" (dict "root" .root "name" "SERVICE_TOKEN" "secret" "serviceToken" "key" "token") }}
{{- with .service.database }}
{{ include "todo.secretVariable" (dict "root" $.root "name" "DATABASE_URL" "secret" "database" "key" .role) }}
{{- end }}
{{- if include "todo.everyReplica" .service }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}
{{- if .service.secrets }}
- {name: PUBLIC_URL, value: {{ $values.kubernetes.urls.page | quote }}}
{{- end }}
{{- if .service.socketsFor }}
- {name: ALLOWED_ORIGINS, value: {{ $values.kubernetes.urls.page | quote }}}
{{- end }}
{{- range $values.services }}
{{- if eq (default "" .socketsFor) $.name }}
- {name: SYNC_URL, value: {{ $values.kubernetes.urls.sockets | quote }}}
{{- end }}
{{- end }}
{{- range $key, $value := .workload.env }}
- {name: {{ $key }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* What a pod waits for before its sidecar starts, which ends when a component can't be opened. dict "root" "name" "service". */}}
{{- define "todo.waitContainer" -}}
- name: wait
  image: {{ include "todo.image" (dict "root" .root "service" .name) }}
  imagePullPolicy: {{ .root.Values.kubernetes.images.pullPolicy }}
  command: [python, -m, services.waiting]
  args:
    {{- if include "todo.usesDatabase" .service }}
    - --revision={{ .root.Values.kubernetes.migration.revision }}
    {{- end }}
    {{- if include "todo.usesKafka" .service }}
    - --any-of={{ include "todo.brokers" .root }}
    {{- end }}
  {{- if include "todo.usesDatabase" .service }}
  {{- $role := .root.Values.dapr.statestore.role }}
  {{- with .service.database }}{{ $role = .role }}{{ end }}
  env:
    {{- include "todo.secretVariable" (dict "root" .root "name" "DATABASE_URL" "secret" "database" "key" $role) | nindent 4 }}
  {{- end }}
  resources:
    {{- toYaml .root.Values.kubernetes.migration.resources | nindent 4 }}
  securityContext:
    {{- include "todo.containerSecurity" .root | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
{{- end }}
