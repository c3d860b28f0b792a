# OpenBao for production: integrated storage, TLS, an audit log from the first request on. `bao server -config=FILE`
# HashiCorp's `vault server` takes it too, but for what is marked with (OpenBao) and (Vault); each warns of the other's.

# A page that nobody needs is one less to protect.
ui = false

# What clients and other nodes are told to ask: names in this node's certificate.
api_addr     = "https://vault:8200"
cluster_addr = "https://vault:8201"

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"

  # The certificate, then what signed it up to the root. At SIGHUP both files are read again.
  tls_cert_file   = "/vault/tls/tls.crt"
  tls_key_file    = "/vault/tls/tls.key"
  tls_min_version = "tls12"

  # Numbers about the server for whoever may read sys/metrics, and for nobody else.
  telemetry {
    unauthenticated_metrics_access = false
  }
}

# Data on this node's own disk, encrypted, and the same on each node. Three or five nodes outlive the loss of one or two.
storage "raft" {
  path    = "/vault/data"
  node_id = "vault-1"

  # An election within seconds; the default of 5 is for the smallest machines.
  performance_multiplier = 1

  # A further node has its own node_id and addresses, and finds the first by this; then it is unsealed with the same keys.
  # retry_join {
  #   leader_api_addr     = "https://vault:8200"
  #   leader_ca_cert_file = "/vault/tls/ca.crt"
  # }
}

# (Vault) Pages of raft's database would be locked in memory all at once: switch swap off on the machine instead, or
# encrypt it. OpenBao locks no memory, and warns that it does not know the word.
disable_mlock = true

# (OpenBao) Each request and answer, values as HMACs. A server that can write to none of its audit devices answers
# nobody: watch the disk, rotate the file, and send SIGHUP. Vault takes none from here: `vault audit enable file
# file_path=/vault/logs/audit.log`.
audit "file" "file" {
  description = "all requests"
  options {
    file_path = "/vault/logs/audit.log"
    mode      = "0600"
  }
}

telemetry {
  prometheus_retention_time = "24h"
  disable_hostname          = true
}

# Logins and leases that name no time of their own end after an hour, and never later than a day.
default_lease_ttl = "1h"
max_lease_ttl     = "24h"
