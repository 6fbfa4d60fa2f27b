{{/* What the schema can't say: names that refer to each other, and sources that exclude each other. */}}
{{- define "todo.validate" -}}
{{- $values := .Values -}}
{{- $cluster := .Values.kubernetes -}}
{{- range $name, $service := $values.services -}}
{{- range default list $service.publishes -}}
{{- if not (hasKey $values.topics .) }}{{ fail (printf "services.%s publishes to %s, which is no topic" $name .) }}{{ end -}}
{{- end -}}
{{- range default list $service.subscribes -}}
{{- if not (hasKey $values.topics .topic) }}{{ fail (printf "services.%s reads %s, which is no topic" $name .topic) }}{{ end -}}
{{- end -}}
{{- range default list $service.invokes -}}
{{- if not (hasKey $values.services .service) }}{{ fail (printf "services.%s calls %s, which is no service" $name .service) }}{{ end -}}
{{- end -}}
{{- range default list $service.secrets -}}
{{- if ne . $cluster.secrets.smtp.name }}{{ fail (printf "services.%s reads the secret %s; the only one for services is kubernetes.secrets.smtp" $name .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := $cluster.workloads -}}
{{- if not (or (eq $name "default") (hasKey $values.services $name)) }}{{ fail (printf "kubernetes.workloads.%s: there is no such service" $name) }}{{ end -}}
{{- end -}}
{{- range $key, $secret := $cluster.secrets -}}
{{- $given := list -}}
{{- if $secret.sealed }}{{ $given = append $given "sealed" }}{{ end -}}
{{- if $secret.values }}{{ $given = append $given "values" }}{{ end -}}
{{- $wanted := eq $secret.source "existing" | ternary list (list $secret.source) -}}
{{- if ne (join "," $given) (join "," $wanted) }}{{ fail (printf "kubernetes.secrets.%s: source is %s, so give just that (given: %s)" $key $secret.source (join ", " $given)) }}{{ end -}}
{{- end -}}
{{- if eq (empty $cluster.kafka.brokers) (not $cluster.kafka.strimzi.enabled) }}{{ fail "kubernetes.kafka: give brokers, or enable strimzi, and not both" }}{{ end -}}
{{- if gt (int $values.kafka.minInSyncReplicas) (int $values.kafka.replication) }}{{ fail "kafka.minInSyncReplicas is larger than kafka.replication: nothing could be written" }}{{ end -}}
{{- if and $cluster.kafka.strimzi.enabled (gt (int $values.kafka.replication) (int $cluster.kafka.strimzi.nodes)) }}{{ fail "kafka.replication is larger than kubernetes.kafka.strimzi.nodes" }}{{ end -}}
{{- end }}
