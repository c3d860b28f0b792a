# Read by `lessee monitor`. 0640: by the group of the server too. HMACs stand for the values.
audit "file" "file" {
  options {
    file_path = "/vault/logs/audit.log"
    mode      = "0640"
  }
}
