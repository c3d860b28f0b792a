"""`lessee adopt`: moves the secrets of a Compose project to Vault, and gives it a sidecar; `--undo` reverses it."""
