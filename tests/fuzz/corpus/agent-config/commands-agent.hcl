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
  contents    = "{{ with secret \"secret/data/shop/tls\" }}{{ .Data.data.certificate }}{{ end }}"
  destination = "@OUT@/tls.crt"
  exec { command = ["sh", "-c", "kill -HUP $(cat @FOLDER@/proxy.pid) || true"] }
}

template {
  contents    = "{{ with secret \"secret/data/shop/tls\" }}{{ .Data.data.key }}{{ end }}"
  destination = "@OUT@/tls.key"
  perms       = "0600"
  exec { command = ["sh", "-c", "kill -HUP $(cat @FOLDER@/proxy.pid) || true"] }
}
