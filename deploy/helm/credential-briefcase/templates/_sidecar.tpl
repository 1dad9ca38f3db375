{{/*
The pieces of a pod that has the sidecar. Each takes the chart's own context: `.` here, in another chart
`(index .Subcharts "credential-briefcase")`. docs/kubernetes.md shows a pod that is put together of them.
*/}}

{{- define "credential-briefcase.lockedDown" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* securityContext of the pod: the group through which the agent reads what the sidecar hands over. */}}
{{- define "credential-briefcase.podSecurityContext" -}}
fsGroup: {{ .Values.sidecar.gid }}
fsGroupChangePolicy: OnRootMismatch
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "credential-briefcase.podAnnotations" -}}
checksum/config: {{ print (include "credential-briefcase.config" .) (toYaml .Values.profiles) | sha256sum }}
{{- end -}}

{{/* initContainers: the redirect, where wanted, then the sidecar, which stays (restartPolicy: Always). */}}
{{- define "credential-briefcase.initContainers" -}}
{{- if .Values.transparent.enabled }}
- name: redirect
  image: {{ include "credential-briefcase.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [briefcased, redirect, --to, {{ .Values.transparent.port | quote }}, --except-uid, {{ .Values.sidecar.uid | quote }}, --dns-port, {{ .Values.transparent.dnsPort | quote }}]
  securityContext:
    allowPrivilegeEscalation: false
    capabilities: {drop: [ALL], add: [NET_ADMIN]}
    privileged: false
    readOnlyRootFilesystem: true
    runAsNonRoot: false
    runAsUser: 0  # a capability that is added reaches root alone
    runAsGroup: 0
    seccompProfile: {type: RuntimeDefault}
  resources:
    requests: {cpu: 10m, memory: 64Mi}
    limits: {memory: 128Mi}
{{- if .Values.transparent.check }}
- name: confinement  # as the agent will be, before it and the sidecar run
  image: {{ include "credential-briefcase.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [briefcased, doctor, --confinement, --from-here, --write, /run/briefcased-confinement/report.json]
  env:
    - {name: BRIEFCASED_HOME, value: /var/lib/briefcased}
  securityContext:
    {{- include "credential-briefcase.agentSecurityContext" . | nindent 4 }}
  resources:
    requests: {cpu: 10m, memory: 64Mi}
    limits: {memory: 256Mi}
  volumeMounts:
    - {name: briefcased-confinement, mountPath: /run/briefcased-confinement}
    - {name: briefcased-tmp, mountPath: /tmp}
{{- end }}
{{- end }}
- name: briefcased
  image: {{ include "credential-briefcase.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  restartPolicy: Always
  command: [briefcased, up, --config, /etc/briefcased/briefcased.yaml]
  env:
    - {name: BRIEFCASED_HOME, value: /var/lib/briefcased}
    {{- with .Values.sidecar.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - {name: control, containerPort: {{ .Values.sidecar.controlPort }}, protocol: TCP}
  startupProbe:
    {{- if .Values.handOver.enabled }}
    exec: {command: [test, -r, {{ printf "%s/env.sh" .Values.handOver.directory | quote }}]}  # written last, when all listens
    {{- else }}
    httpGet: {path: /readyz, port: control}
    {{- end }}
    periodSeconds: 1
    timeoutSeconds: 2
    failureThreshold: 60
  readinessProbe:
    httpGet: {path: /readyz, port: control}
    periodSeconds: 5
    timeoutSeconds: 2
  livenessProbe:
    httpGet: {path: /healthz, port: control}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  securityContext:
    {{- include "credential-briefcase.lockedDown" . | nindent 4 }}
    runAsUser: {{ .Values.sidecar.uid }}
    runAsGroup: {{ .Values.sidecar.gid }}
  resources:
    {{- toYaml .Values.sidecar.resources | nindent 4 }}
  volumeMounts:
    - {name: briefcased-config, mountPath: /etc/briefcased, readOnly: true}
    - {name: briefcased-state, mountPath: /var/lib/briefcased}
    - {name: briefcased-tmp, mountPath: /tmp}
    {{- if and .Values.transparent.enabled .Values.transparent.check }}
    - {name: briefcased-confinement, mountPath: /run/briefcased-confinement, readOnly: true}
    {{- end }}
    {{- if include "credential-briefcase.secretSources" . }}
    - {name: briefcased-secrets, mountPath: /run/secrets/briefcased, readOnly: true}
    {{- end }}
    {{- if .Values.handOver.enabled }}
    - {name: briefcased-hand-over, mountPath: {{ .Values.handOver.directory | quote }}}
    {{- end }}
{{- end -}}

{{- define "credential-briefcase.volumes" -}}
- name: briefcased-config
  configMap:
    name: {{ include "credential-briefcase.fullname" . }}
    defaultMode: 0444
    items:
      - {key: briefcased.yaml, path: briefcased.yaml}
      {{- range $file, $_ := .Values.profiles }}
      - {key: {{ printf "profile-%s" $file | quote }}, path: {{ printf "profiles/%s" $file | quote }}}
      {{- end }}
- name: briefcased-state
  {{- if .Values.state.existingClaim }}
  persistentVolumeClaim: {claimName: {{ .Values.state.existingClaim | quote }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.state.sizeLimit }}}
  {{- end }}
- name: briefcased-tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- if and .Values.transparent.enabled .Values.transparent.check }}
- name: briefcased-confinement
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}
{{- with include "credential-briefcase.secretSources" . }}
- name: briefcased-secrets
  projected:
    defaultMode: 0440
    sources: {{- . | trim | nindent 6 }}
{{- end }}
{{- if .Values.handOver.enabled }}
- name: briefcased-hand-over
  emptyDir: {medium: Memory, sizeLimit: 4Mi}
{{- end }}
{{- if .Values.identity.serviceAccountToken.enabled }}
- name: briefcased-identity
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          audience: {{ .Values.identity.serviceAccountToken.audience | quote }}
          expirationSeconds: {{ .Values.identity.serviceAccountToken.expirationSeconds }}
          path: token
{{- end }}
{{- end -}}

{{/* securityContext of the agent's container: never the sidecar's user, never root. */}}
{{- define "credential-briefcase.agentSecurityContext" -}}
{{- if eq (int .Values.agent.uid) (int .Values.sidecar.uid) -}}
{{- fail "agent.uid and sidecar.uid must differ: processes of one user can read each other's memory" -}}
{{- end -}}
{{ include "credential-briefcase.lockedDown" . }}
runAsUser: {{ .Values.agent.uid }}
runAsGroup: {{ .Values.agent.gid }}
{{- end -}}

{{- define "credential-briefcase.agentVolumeMounts" -}}
{{- if .Values.handOver.enabled }}
- {name: briefcased-hand-over, mountPath: {{ .Values.handOver.directory | quote }}, readOnly: true}
{{- end }}
{{- if .Values.identity.serviceAccountToken.enabled }}
- {name: briefcased-identity, mountPath: {{ .Values.identity.serviceAccountToken.directory | quote }}, readOnly: true}
{{- end }}
{{- end -}}
