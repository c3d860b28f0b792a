# OpenBao for development: one node on this machine, which loses its data when it stops. `bao server -config=FILE`
# HashiCorp's `vault server` accepts it too. Unlike `-dev`, it starts sealed and has no known token, as in production.

ui       = true
api_addr = "http://127.0.0.1:8200"

# Loopback only: without TLS, everyone on the network path can read every secret.
listener "tcp" {
  address     = "127.0.0.1:8200"
  tls_disable = true
}

# To store the data, write instead:
#   cluster_addr = "http://127.0.0.1:8201"
#   storage "raft" { path = "/path/to/a/folder" }
storage "inmem" {}

# (Vault) Without it, Vault needs permission to lock memory. OpenBao locks no memory, and warns that the key is unknown.
disable_mlock = true
