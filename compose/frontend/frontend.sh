# Writes the site's secrets to OpenBao: public settings, the key of the upstream API, and a user. It may run again.
set -eu
bao kv get secret/production/frontend/site >/dev/null 2>&1 && exit
head -c 24 /dev/urandom | base64 | tr -d '\n' | bao kv put secret/production/api-keys/upstream api_key=- >/dev/null
# The password is hashed here: Vault stores only the hash. Not inside the pipe, which would hide a failure.
hash=$(python3 -c '
import hashlib, secrets
salt = secrets.token_bytes(16)
digest = hashlib.scrypt(b"demo", salt=salt, n=16384, r=8, p=1)
print(f"scrypt:16384:8:1:{salt.hex()}:{digest.hex()}")
')
printf %s "$hash" | bao kv put secret/production/frontend/users demo=- >/dev/null
# The last one: if it exists, all exist.
bao kv put secret/production/frontend/site greeting=Hello api_url=/api/upstream/models >/dev/null
