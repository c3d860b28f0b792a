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
  contents    = <<EOT
{{ with secret "secret/data/shop/app" }}{{ range $k, $v := .Data.data }}{{ $k | toUpper | replaceAll "-" "_" }}={{ $v }}
{{ end }}{{ end }}
EOT
  destination = "@OUT@/all.env"
}
