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
{{ with secret "secret/data/shop/app" -}}
{{ $name := sprig_default "shop" .Data.data.name -}}
server:
  name: {{ $name | sprig_upper | sprig_quote }}
  label: {{ sprig_squote $name }} {{ sprig_ternary "a" "b" (sprig_hasPrefix "1." .Data.data.version) }}
  hosts: {{ sprig_list "x" "y" | sprig_join "," }}{{ range "a-b" | sprig_splitList "-" }} {{ . }}{{ end }}
  version: {{ .Data.data.version | sprig_trimSuffix ".2" | sprig_replace "beta" "rc" }}
  first: {{ sprig_coalesce .Data.data.nothing "" "c" }} {{ sprig_empty "" }} {{ sprig_b64enc "a" }} {{ sprig_int "7" }}
  json: {{ .Data.data | sprig_toPrettyJson | sprig_nindent 4 }}
  raw: {{ sprig_toRawJson "<&>" }} {{ sprig_toJson "<&>" }} {{ sprig_sha256sum "a" }} {{ .Data.data | toJSONPretty }}
{{ end -}}
EOT
  destination = "@OUT@/values.yaml"
}
