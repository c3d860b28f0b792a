# Configures Vault. Run it once, with a token that may write policies: sh vault.sh HOW
# HOW is how Vault verifies a service account's token, an argument of `bao write auth/jwt/config`; README.md has three.
# It may run again.
set -eu

bao policy write app - <<END
path "secret/data/production/*" { capabilities = ["read"] }
path "secret/metadata/production/*" { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
END
bao read sys/auth/jwt >/dev/null 2>&1 || bao auth enable jwt
bao write auth/jwt/config "$@"
# Only this account of this namespace, and only with a token whose audience is Vault.
bao write auth/jwt/role/app role_type=jwt user_claim=sub bound_audiences=vault \
    bound_subject=system:serviceaccount:app:app token_policies=app token_ttl=20m token_max_ttl=24h
