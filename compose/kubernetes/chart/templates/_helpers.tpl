{{/* For this chart and yours: `include "lessee.container" .Subcharts.lessee`, and "lessee.volumes" in the same way. */}}

{{/* The ConfigMap with lessee.yaml and the templates. */}}
{{- define "lessee.configMap" -}}
{{- .Values.existingConfigMap | default (printf "%s-lessee" .Release.Name) -}}
{{- end -}}

{{- define "lessee.serviceAccount" -}}
{{- .Values.app.serviceAccountName | default .Release.Name -}}
{{- end -}}

{{- define "lessee.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "lessee.labels" -}}
{{ include "lessee.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* A reference of an image, by digest or tag: the value's name, its content, and the tag if it has none. */}}
{{- define "lessee.image" -}}
{{- $name := index . 0 -}}
{{- $image := index . 1 -}}
{{- $repository := required (printf "%s.repository: name the image in your registry" $name) $image.repository -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $repository $image.digest | quote }}
{{- else -}}
{{ printf "%s:%s" $repository (required (printf "%s.tag: name a tag, or a digest" $name) ($image.tag | default (index . 2))) | quote }}
{{- end -}}
{{- end -}}

{{/* An item of initContainers. A native sidecar (Kubernetes 1.29 or later): it starts before the app, and ends after it. */}}
{{- define "lessee.container" -}}
- name: lessee
  image: {{ include "lessee.image" (list "image" .Values.image .Chart.AppVersion) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  restartPolicy: Always
  ports:
    - name: lessee
      containerPort: {{ int64 .Values.port }}
  startupProbe:
    httpGet: {path: /readyz, port: lessee}
    periodSeconds: {{ int64 .Values.startup.periodSeconds }}
    failureThreshold: {{ int64 .Values.startup.failureThreshold }}
  livenessProbe:
    httpGet: {path: /healthz, port: lessee}
  securityContext:
    runAsNonRoot: true
    runAsUser: {{ int64 .Values.runAsUser }}
    runAsGroup: {{ int64 .Values.runAsGroup }}
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
    seccompProfile: {type: RuntimeDefault}
  resources: {{ toJson .Values.resources }}
  volumeMounts:
    - {name: lessee-config, mountPath: /etc/lessee, readOnly: true}
    - {name: lessee-identity, mountPath: /run/identity, readOnly: true}
    - {name: lessee-state, mountPath: /run/lessee}
    - {name: lessee-files, mountPath: {{ .Values.files.mountPath | quote }}}
{{- end -}}

{{/* Items of volumes. The app's container mounts `lessee-files` alone, read-only. */}}
{{- define "lessee.volumes" -}}
- name: lessee-config
  configMap:
    name: {{ include "lessee.configMap" . }}
- name: lessee-identity
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          audience: {{ .Values.identity.audience | quote }}
          expirationSeconds: {{ int64 .Values.identity.expirationSeconds }}
      - configMap:
          name: {{ .Values.caConfigMap.name }}
          items: [{key: {{ .Values.caConfigMap.key | quote }}, path: ca.crt}]
      - secret:
          name: {{ .Values.statusSecret.name }}
          items: [{key: {{ .Values.statusSecret.key | quote }}, path: status-token}]
- name: lessee-state
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.state.sizeLimit }}}
- name: lessee-files
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.files.sizeLimit }}}
{{- end -}}

{{/* Stops before the cluster has a pod that cannot work. Numbers of values are floats, hence int64. */}}
{{- define "lessee.check" -}}
{{- $port := int64 .Values.port -}}
{{- if not (hasSuffix (printf ":%d" $port) .Values.config.status.listen) -}}
{{- fail (printf "config.status.listen: %s does not end with port, which is %d; change one of them" .Values.config.status.listen $port) -}}
{{- end -}}
{{- $owner := printf "%d:%d" (int64 .Values.runAsUser) (int64 .Values.runAsGroup) -}}
{{- if and .Values.app.enabled (eq (int64 .Values.runAsUser) (int64 .Values.app.runAsUser)) -}}
{{- fail (printf "runAsUser: %d is the app's user too, which could then signal the agent; choose another one" (int64 .Values.runAsUser)) -}}
{{- end -}}
{{- $below := printf "%s/" (trimSuffix "/" .Values.files.mountPath) -}}
{{- range $name, $app := required "config.apps: has no app; example.yaml has one" .Values.config.apps | default dict -}}
{{- if not (hasPrefix $below $app.directory) -}}
{{- fail (printf "config.apps.%s.directory: %s is not below files.mountPath, which is %s; the app would not see it" $name $app.directory $.Values.files.mountPath) -}}
{{- end -}}
{{- if ne $app.owner $owner -}}
{{- fail (printf "config.apps.%s.owner: must be \"%s\", which is runAsUser and runAsGroup; the app reads its files by the group" $name $owner) -}}
{{- end -}}
{{- end -}}
{{- end -}}
