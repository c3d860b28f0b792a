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
{{ with pkiCert "pki/issue/web" "common_name=api.shop.internal" "ttl=12h" }}
{{ .Data.Key }}
{{ .Data.CA }}
{{ .Data.Cert }}
{{ .Data.Key | writeToFile "@OUT@/api.key" "" "" "0400" }}
{{ .Data.CA | writeToFile "@OUT@/api.pem" "" "" "0644" }}
{{ .Data.Cert | writeToFile "@OUT@/api.pem" "" "" "0644" "append" }}
{{ end }}
EOT
  destination = "@OUT@/api.bundle"
}
