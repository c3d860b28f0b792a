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
  # KV version 1
  contents    = <<EOF
[client]
{{ with secret "legacy/mysql" }}user     = {{ .Data.user }}
password = "{{ .Data.password }}"
{{- if .Data.port }}
port     = {{ .Data.port }}
{{- end }}{{ end }}

[mysqldump]
max_allowed_packet = {{ printf "%dM" 64 }}
EOF
  destination = "@OUT@/my.cnf"
  user        = "0"
  group       = "0"
}
