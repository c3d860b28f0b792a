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
  contents = "{{ with secret \"secret/data/shop/database\" }}{{ printf \"%s:%v:%s:%s:%s\" .Data.data.host .Data.data.port \"*\" .Data.data.username .Data.data.password }}\n{{ end }}"
  destination = "@OUT@/.pgpass"
  perms       = 0600
  command     = "true"
}
