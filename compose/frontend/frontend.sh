# Gives OpenBao what the site is made of: public settings, the key of the upstream API, and a user; may run again.
set -eu
bao kv get secret/production/frontend/site >/dev/null 2>&1 && exit
head -c 24 /dev/urandom | base64 | tr -d '\n' | bao kv put secret/production/api-keys/upstream api_key=- >/dev/null
# The password is hashed here: Vault holds no more than that. Not within the pipe, where a failure would pass unseen.
hash=$(python3 -c '
import hashlib, secrets
salt = secrets.token_bytes(16)
found = hashlib.scrypt(b"demo", salt=salt, n=16384, r=8, p=1)
print(f"scrypt:16384:8:1:{salt.hex()}:{found.hex()}")
')
printf %s "$hash" | bao kv put secret/production/frontend/users demo=- >/dev/null
# The last of them: where it is, all are.
bao kv put secret/production/frontend/site greeting=Hello api_url=/api/upstream/models >/dev/null
