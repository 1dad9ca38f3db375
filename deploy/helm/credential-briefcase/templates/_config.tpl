{{/* briefcased.yaml, as text. */}}
{{- define "credential-briefcase.config" -}}
{{- $values := .Values -}}
{{- $agent := dict "accounts" $values.identity.accounts -}}
{{- $listeners := dict
    "proxy" (printf "127.0.0.1:%d" (int $values.sidecar.proxyPort))
    "control" (printf "%s:%d" $values.sidecar.controlAddress (int $values.sidecar.controlPort)) -}}
{{- $config := dict
    "version" 1
    "mode" $values.mode
    "listeners" $listeners
    "logs" $values.logs
    "limits" (dict "drain_s" (float64 $values.sidecar.drainSeconds)) -}}
{{- $providers := dict -}}
{{- range $name, $provider := $values.providers -}}
{{- $accounts := dict -}}
{{- range $account, $entry := $provider.accounts -}}
{{- $refs := dict -}}
{{- range $slot, $ref := $entry.secrets -}}
{{- $_ := set $refs $slot (printf "file:/run/secrets/briefcased/%s/%s" $ref.existingSecret $ref.key) -}}
{{- end -}}
{{- $_ := set $accounts $account (mustMerge (dict "secrets" $refs) (omit $entry "secrets")) -}}
{{- end -}}
{{- $_ := set $providers $name (mustMerge (dict "accounts" $accounts) (omit $provider "accounts")) -}}
{{- end -}}
{{- with $providers -}}{{- $_ := set $config "providers" . -}}{{- end -}}
{{- if $values.profiles -}}
{{- $_ := set $config "profiles" (list "profiles") -}}
{{- $sums := "" -}}
{{- range $file, $text := $values.profiles -}}
{{- $sums = printf "%s%s  %s\n" $sums (printf "%s\n" (trimSuffix "\n" $text) | sha256sum) $file -}}
{{- end -}}
{{- $_ := set $config "profiles_digest" (printf "sha256:%s" ($sums | sha256sum)) -}}
{{- end -}}
{{- if $values.handOver.enabled -}}
{{- $_ := set $agent "hand_over" (dict "directory" $values.handOver.directory "proxy" $listeners.proxy) -}}
{{- end -}}
{{- $_ := set $config "agents" (dict $values.identity.name $agent) -}}
{{- if $values.transparent.enabled -}}
{{- $at := printf "127.0.0.1:%d" (int $values.transparent.port) -}}
{{- $_ := set $listeners "more" (list (dict "at" $at "kind" "transparent" "agent" $values.identity.name)) -}}
{{- $_ := set $listeners "dns" (printf "127.0.0.1:%d" (int $values.transparent.dnsPort)) -}}
{{- end -}}
{{- if and $values.transparent.enabled $values.transparent.check -}}
{{- $report := dict "report" "/run/briefcased-confinement/report.json" "max_age_s" 31536000.0 "accept" $values.transparent.accept -}}
{{- $_ := set $config "confinement" $report -}}
{{- else -}}
{{- $_ := set $config "confinement" (dict "required" false) -}}
{{- end -}}
{{- if $values.identity.serviceAccountToken.enabled -}}
{{- $_ := set $config "identity" (dict "tokens" $values.identity.serviceAccountToken.tokens) -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite $config (deepCopy $values.extraConfig)) -}}
{{- end -}}

{{/* The Secrets that accounts name, as the sources of one projected volume: SECRET/KEY below it. */}}
{{- define "credential-briefcase.secretSources" -}}
{{- $keys := dict -}}
{{- range $provider := .Values.providers -}}
{{- range $account := $provider.accounts -}}
{{- range $ref := $account.secrets -}}
{{- $known := default dict (get $keys $ref.existingSecret) -}}
{{- $_ := set $known $ref.key true -}}
{{- $_ := set $keys $ref.existingSecret $known -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $secret, $known := $keys }}
- secret:
    name: {{ $secret | quote }}
    items:
      {{- range $key, $_ := $known }}
      - {key: {{ $key | quote }}, path: {{ printf "%s/%s" $secret $key | quote }}}
      {{- end }}
{{- end -}}
{{- end -}}
