# Creates a policy, an AppRole and a first secret in the quickstart's OpenBao. It may run again.
set -eu
umask 0377

bao policy write app - <<END
path "secret/data/production/*" { capabilities = ["read"] }
path "secret/metadata/production/*" { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
END
bao read sys/auth/approle >/dev/null 2>&1 || bao auth enable approle
bao write auth/approle/role/app token_policies=app token_ttl=1h token_max_ttl=24h
bao kv get secret/production/database >/dev/null 2>&1 ||
    head -c 24 /dev/urandom | base64 | bao kv put secret/production/database username=app password=- >/dev/null

role_id=$(bao read -field=role_id auth/approle/role/app/role-id)
secret_id=$(bao write -f -field=secret_id auth/approle/role/app/secret-id)
rm -f /run/identity/role_id /run/identity/secret_id
printf %s "$role_id" >/run/identity/role_id
printf %s "$secret_id" >/run/identity/secret_id
