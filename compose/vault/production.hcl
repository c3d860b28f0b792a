# OpenBao for production: integrated storage, TLS, an audit log from the first request. `bao server -config=FILE`
# HashiCorp's `vault server` accepts it too, except for the parts marked (OpenBao). Each warns about the other's parts.

# Off: an unused page would only add attack surface.
ui = false

# The addresses for clients and other nodes, with names in this node's certificate.
api_addr     = "https://vault:8200"
cluster_addr = "https://vault:8201"

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"

  # The certificate, followed by its chain up to the root. On SIGHUP the server reads both files again.
  tls_cert_file   = "/vault/tls/tls.crt"
  tls_key_file    = "/vault/tls/tls.key"
  tls_min_version = "tls12"

  # Metrics only for tokens that may read sys/metrics.
  telemetry {
    unauthenticated_metrics_access = false
  }
}

# Encrypted data on each node's own disk, replicated to all nodes. Three nodes survive the loss of one, five of two.
storage "raft" {
  path    = "/vault/data"
  node_id = "vault-1"

  # Elects a leader within seconds; the default of 5 is for the smallest machines.
  performance_multiplier = 1

  # Another node has its own node_id and addresses, and finds the first with this. Unseal it with the same keys.
  # retry_join {
  #   leader_api_addr     = "https://vault:8200"
  #   leader_ca_cert_file = "/vault/tls/ca.crt"
  # }
}

# (Vault) Otherwise Vault locks the whole raft database in memory: disable or encrypt the machine's swap instead.
# OpenBao locks no memory, and warns that the key is unknown.
disable_mlock = true

# (OpenBao) Logs each request and response, with HMACs instead of values. A server that can write to none of its audit
# devices answers no request: monitor the disk, rotate the file, and send SIGHUP. For Vault, run `vault audit enable file
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

# Logins and leases without their own TTL end after an hour. No TTL is longer than a day.
default_lease_ttl = "1h"
max_lease_ttl     = "24h"
