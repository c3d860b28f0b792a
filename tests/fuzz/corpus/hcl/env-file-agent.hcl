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
{{ with secret "secret/data/shop/database" -}}
DATABASE_HOST={{ .Data.data.host }}
DATABASE_PORT={{ .Data.data.port }}
DATABASE_USER={{ .Data.data.username }}
DATABASE_PASSWORD={{ .Data.data.password }}
{{ end -}}
# the mailer
{{ with secret "secret/data/shop/mail" -}}
SMTP_URL=smtp://{{ .Data.data.user }}:{{ .Data.data.password }}@{{ .Data.data.host }}
{{ end -}}
EOT
  destination          = "@OUT@/app.env"
  perms                = "0640"
  error_on_missing_key = true
}
