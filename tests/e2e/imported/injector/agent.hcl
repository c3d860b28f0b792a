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

# What the injector makes of the annotations.
template {
  contents    = "{{- with secret \"secret/data/shop/database\" -}}\nexport DATABASE_URL=\"postgresql://{{ .Data.data.username }}:{{ .Data.data.password }}@{{ .Data.data.host }}/shop\"\n{{- end }}\n"
  destination = "@OUT@/database.env"
  perms       = "0400"
}

template {
  contents    = "{{ with secret \"secret/data/shop/upstreams\" }}{{ .Data.data.api_key }}{{ end }}"
  destination = "@OUT@/api.key"
}
