# Initializes the example's OpenBao, and creates the app's role and the issuer's login. It may run again.
set -eu
umask 0377

if ! bao operator init -status >/dev/null 2>&1; then
    output=$(bao operator init -recovery-shares=1 -recovery-threshold=1)
    token=${output##*Initial Root Token: }
    token=${token%%[!A-Za-z0-9._-]*}
    until bao status >/dev/null 2>&1; do sleep 0.1; done
    # The example's operator. A server of your own has none that a file names.
    BAO_TOKEN=$token bao token create -id=quickstart -orphan -policy=root >/dev/null
    BAO_TOKEN=$token bao token revoke -self >/dev/null
fi
until bao status >/dev/null 2>&1; do sleep 0.1; done

bao read sys/mounts/secret >/dev/null 2>&1 || bao secrets enable -path=secret -version=2 kv
bao read sys/auth/approle >/dev/null 2>&1 || bao auth enable approle
bao read sys/auth/userpass >/dev/null 2>&1 || bao auth enable userpass
bao policy write production-app - <<END
path "secret/data/production/*" { capabilities = ["read"] }
path "secret/metadata/production/*" { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
END
bao write auth/approle/role/production-app token_policies=production-app token_ttl=1h token_max_ttl=24h
bao write auth/approle/role/production-app/role-id role_id=production-app
bao kv get secret/production/database >/dev/null 2>&1 ||
    head -c 24 /dev/urandom | base64 | bao kv put secret/production/database username=app password=- >/dev/null

# What `lessee check --policy --issuer` prints: secret_ids of this role, and only response-wrapped ones.
bao policy write production-issuer - <<END
path "auth/approle/role/production-app/secret-id" {
  capabilities = ["update"]
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "60s"
}
END
password=$(head -c 24 /dev/urandom | base64)
printf %s "$password" | bao write auth/userpass/users/issuer token_policies=production-issuer token_ttl=5m password=- >/dev/null
rm -f /run/login/password
printf %s "$password" >/run/login/password
