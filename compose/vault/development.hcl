# OpenBao for development: one node on this machine, with data that goes when it stops. `bao server -config=FILE`
# HashiCorp's `vault server` takes it too. Unlike `-dev` it is sealed, and has no known token, as in production.

ui       = true
api_addr = "http://127.0.0.1:8200"

# Loopback alone: without TLS, whoever listens on the way reads every secret.
listener "tcp" {
  address     = "127.0.0.1:8200"
  tls_disable = true
}

# To keep the data, write in its place:
#   cluster_addr = "http://127.0.0.1:8201"
#   storage "raft" { path = "/path/to/a/folder" }
storage "inmem" {}

# (Vault) Without the right to lock memory it would not start. OpenBao locks none, and warns that it does not know this.
disable_mlock = true
