# A server for the example: it unseals itself after a reboot, with a key on the same disk.
ui           = false
api_addr     = "http://openbao:8200"
cluster_addr = "http://127.0.0.1:8201"

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "127.0.0.1:8201"
  tls_disable     = true
}

storage "raft" {
  path                   = "/bao/data"
  node_id                = "example"
  performance_multiplier = 1
}

seal "static" {
  current_key_id = "example"
  current_key    = "file:///bao/seal.key"
}
