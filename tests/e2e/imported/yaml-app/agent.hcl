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
  contents = <<-EOT
    {{- with secret "secret/data/shop/database" }}
    database:
      url: "postgres://{{ .Data.data.username }}@{{ .Data.data.host }}:{{ .Data.data.port }}/shop"
      password: {{ .Data.data.password | toJSON }}
    {{- end }}
    {{- with secret "secret/data/shop/tls" }}
    tls:
      certificate: |
{{ .Data.data.certificate | indent 8 }}
      key: |
{{ .Data.data.key | trimSpace | indent 8 }}
    {{- end }}
    log_level: {{ env "LOG_LEVEL" }}
    EOT
  destination = "@OUT@/application.yaml"
}
