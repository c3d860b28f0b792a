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

template_config {
  static_secret_render_interval = "1m"
  exit_on_retry_failure         = true
}

template {
  source      = "./env.ctmpl"
  destination = "@OUT@/env.sh"
  perms       = 0600
}
