exit_after_auth = true

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

# a directory for the certificate, and one in it for the key
template {
  contents    = <<EOT
{{ with secret "secret/data/shop/database" }}PGHOST={{ .Data.data.host }}{{ end }}
EOT
  destination = "@OUT@/app.env"
}

template {
  contents    = <<EOT
{{ with secret "secret/data/shop/tls" }}{{ .Data.data.certificate }}{{ end }}
EOT
  destination = "@OUT@/tls/server.pem"
}

template {
  contents    = <<EOT
{{ with secret "secret/data/shop/tls" }}{{ .Data.data.key }}{{ end }}
EOT
  destination = "@OUT@/tls/private/key.pem"
  perms       = "0400"
}
