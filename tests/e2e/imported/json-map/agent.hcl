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
  contents    = "{{ with secret \"secret/data/shop/app\" }}{{ .Data.data | toJSON }}{{ end }}\n"
  destination = "@OUT@/secrets.json"
}

template {
  contents    = "window.settings = {{ with secret \"secret/data/shop/upstreams\" }}{{ .Data.data | toUnescapedJSON }}{{ end }};\n"
  destination = "@OUT@/settings.js"
}
