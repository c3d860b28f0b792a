# Vault's side, once, by who may write policies: sh vault.sh HOW
# HOW says by what a service account's token is proved, as `bao write auth/jwt/config` takes it; README.md has three ways.
# May run again.
set -eu

bao policy write app - <<END
path "secret/data/production/*" { capabilities = ["read"] }
path "secret/metadata/production/*" { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
END
bao read sys/auth/jwt >/dev/null 2>&1 || bao auth enable jwt
bao write auth/jwt/config "$@"
# This account of this namespace alone, and only with a token that was made for Vault.
bao write auth/jwt/role/app role_type=jwt user_claim=sub bound_audiences=vault \
    bound_subject=system:serviceaccount:app:app token_policies=app token_ttl=20m token_max_ttl=24h
