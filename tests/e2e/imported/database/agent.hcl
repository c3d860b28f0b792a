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

# one user for both files
template {
  contents = <<EOT
{{- with secret "database/creds/shop" -}}
spring.datasource.username={{ .Data.username }}
spring.datasource.password={{ .Data.password }}
{{- end }}
EOT
  destination = "@OUT@/application.properties"
}

template {
  contents = <<EOT
{{ with secret "database/creds/shop" }}postgres://{{ .Data.username | urlquery }}:{{ .Data.password | urlquery }}@localhost/shop{{ end }}
EOT
  destination = "@OUT@/url"
}
