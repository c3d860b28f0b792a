# consul-template -config consul-template.hcl
vault {
  address     = "@ADDRESS@"
  renew_token = false

  retry {
    attempts = 5
  }
}

wait {
  min = "2s"
  max = "10s"
}

log_level = "info"

template {
  source      = "proxy.cfg.ctmpl"
  destination = "@OUT@/proxy.cfg"
  perms       = 0640
  backup      = false
}

template {
  source      = "users.ctmpl"
  destination = "@OUT@/users"
  command     = "true"

  wait {
    min = "1s"
  }
}
