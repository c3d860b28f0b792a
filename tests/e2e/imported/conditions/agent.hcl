exit_after_auth = true

vault {
  address = "@ADDRESS@"
}

auto_auth {
  method "approle" {
    mount_path = "auth/approle"
    config = {
      role_id_file_path                   = "@FOLDER@/role_id"
      secret_id_file_path                 = "@FOLDER@/secret_id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template {
  contents = <<EOT
{{- $env := envOrDefault "ENVIRONMENT" "development" }}
{{- with secret "secret/data/shop/app" }}
{{- if eq $env "production" }}
debug=false
{{- else if or (eq $env "testing") (eq $env "staging") }}
debug={{ if .Data.data.debug }}{{ .Data.data.debug }}{{ else }}true{{ end }}
{{- else }}
debug=true
{{- end }}
{{- if and .Data.data.version (not .Data.data.disabled) }}
version={{ .Data.data.version }}
{{- end }}
{{- if ne .Data.data.workers "0" }}
workers={{ .Data.data.workers }}
{{- end }}
{{- if ge (parseInt .Data.data.threads) 4 }}
threads={{ .Data.data.threads }}
{{- end }}
{{- if contains "beta" .Data.data.version }}
channel=beta
{{- end }}
region={{ or .Data.data.region "eu-central-1" }}
{{- end }}
EOT
  destination = "@OUT@/app.properties"
}
