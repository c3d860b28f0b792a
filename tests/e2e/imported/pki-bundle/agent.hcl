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
{{ with secret "pki/issue/web" "common_name=web.shop.internal" "ttl=24h" "alt_names=www.shop.internal" }}{{ .Data.private_key }}
{{ .Data.certificate }}
{{ range .Data.ca_chain }}{{ . }}
{{ end }}{{ end }}
EOT
  destination = "@OUT@/bundle.pem"
  perms       = "0600"
}
