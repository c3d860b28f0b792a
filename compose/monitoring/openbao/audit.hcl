# `lessee monitor` reads this file. 0640: the server's group may read it. It contains HMACs instead of values.
audit "file" "file" {
  options {
    file_path = "/vault/logs/audit.log"
    mode      = "0640"
  }
}
