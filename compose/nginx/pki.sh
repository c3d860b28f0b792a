# Creates a CA in OpenBao, and lets the agent issue certificates for nginx. It may run again.
set -eu

if ! bao read sys/mounts/pki >/dev/null 2>&1; then
    bao secrets enable -max-lease-ttl=87600h pki
    bao write pki/root/generate/internal common_name="lessee nginx CA" ttl=87600h >/dev/null
fi
bao write pki/roles/nginx allowed_domains=nginx,localhost allow_bare_domains=true max_ttl=72h >/dev/null
bao policy write pki - <<END
path "pki/issue/nginx" { capabilities = ["update"] }
END
bao write auth/approle/role/app token_policies=app,pki
