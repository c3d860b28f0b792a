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
  contents    = "{{ with secret \"secret/data/shop/keystore\" }}{{ .Data.data.jks | base64Decode }}{{ end }}"
  destination = "@OUT@/keystore.jks"
  perms       = "0400"
}

template {
  contents    = "{{ with secret \"secret/data/shop/keystore\" }}{{ base64Encode .Data.data.password }}\n{{ end }}"
  destination = "@OUT@/password.b64"
}
