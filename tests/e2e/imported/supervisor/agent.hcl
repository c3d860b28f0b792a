vault {
  address = "@ADDRESS@"
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "@FOLDER@/role_id"
      secret_id_file_path                 = "@FOLDER@/secret_id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  static_secret_render_interval = "5m"
}

env_template "DB_USER" {
  contents             = "{{ with secret \"secret/data/shop/database\" }}{{ .Data.data.username }}{{ end }}"
  error_on_missing_key = true
}

env_template "DB_URL" {
  contents = "{{ with secret \"secret/data/shop/database\" }}postgres://{{ .Data.data.username }}:{{ .Data.data.password }}@{{ .Data.data.host }}/shop?a=b c#${d}'\\{{ end }}"
}

env_template "MOTD" {
  contents = <<EOT
Hello "shop",
{{ with secret "secret/data/shop/app" }}{{ if .Data.data.version }}version {{ .Data.data.version }}{{ else }}no version{{ end }}{{ end }}
EOT
}

exec {
  command                   = ["python3", "-c", "import json, os; json.dump(dict(os.environ), open('@FOLDER@/environ.json', 'w'))"]
  restart_on_secret_changes = "always"
  restart_stop_signal       = "SIGTERM"
}
