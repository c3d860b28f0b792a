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

# What the injector makes of an annotation without a template.
template {
  contents    = "{{ with secret \"legacy/mysql\" }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}\n{{ end }}{{ end }}"
  destination = "@OUT@/mysql"
}
