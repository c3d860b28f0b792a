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
{{ with secret "secret/data/shop/database" -}}
{{ $db := .Data.data -}}
{{ $user := $db.username | urlquery -}}
{{ $password := urlquery $db.password -}}
DSN={{ printf "postgres://%s:%s@%s:%v/%s?sslmode=%s" $user $password $db.host $db.port "shop" (or (env "SSLMODE") "require") }}
JDBC=jdbc:postgresql://{{ index $db "host" }}/shop
LABEL={{ printf "%q" $db.host }} {{ printf "%-8s|%5d" "db" 7 }}
NAME={{ $db.host | trimSuffix ".internal" | toLower }}
{{ with $db.comment }}COMMENT={{ . }}{{ else }}# no comment{{ end }}
{{ end -}}
EOT
  destination = "@OUT@/dsn.env"
}
