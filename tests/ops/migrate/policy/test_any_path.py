"""Paths of engines without KV secrets become calls of vault(), repeated as often as the other agent does."""

import pytest


@pytest.mark.parametrize(
    ("request_", "field", "call"),
    [
        (
            '"transit/decrypt/a" "ciphertext=vault:v1:x=="',
            "plaintext",
            'vault("transit/decrypt/a", ciphertext="vault:v1:x==", every="5m").plaintext',
        ),
        ('"transit/keys/a"', "type", 'vault("transit/keys/a", every="5m").type'),
        ('"transit/sign/a" "input=aQ=="', "signature", 'vault("transit/sign/a", input="aQ==", every="5m").signature'),
        ('"pki/cert/ca"', "certificate", 'vault("pki/cert/ca", every="5m").certificate'),
        ('"pki/issue/a" "common_name=a"', "certificate", 'certificate("pki/issue/a", common_name="a").certificate'),
        ('"pki/sign/a" "csr=c"', "certificate", 'dynamic("pki/sign/a", csr="c").certificate'),
        ('"totp/code/a"', "code", 'vault("totp/code/a").code'),
        ('"ssh/issue/a" "key_type=rsa"', "private_key", 'vault("ssh/issue/a", key_type="rsa").private_key'),
        ('"ssh/sign/a" "public_key=k"', "signed_key", 'vault("ssh/sign/a", public_key="k").signed_key'),
        ('"ssh/creds/a" "ip=10.0.0.1"', "key", 'vault("ssh/creds/a", ip="10.0.0.1").key'),
        ('"identity/oidc/token/a"', "token", 'dynamic("identity/oidc/token/a").token'),
        ('"custom/make" "a=b"', "c", 'vault("custom/make", a="b", every="5m").c'),
        (
            '"kubernetes/creds/a" "kubernetes_namespace=b"',
            "c",
            'dynamic("kubernetes/creds/a", kubernetes_namespace="b").c',
        ),
        ('"rabbitmq/creds/a"', "username", 'dynamic("rabbitmq/creds/a").username'),
    ],
)
def test_a_path_of_any_engine_is_carried_over(imported, request_, field, call):
    found = imported("t.ctmpl", f"{{{{ with secret {request_} }}}}{{{{ .Data.{field} }}}}{{{{ end }}}}")
    assert found.files["t.j2"].endswith(f"{{{{ {call} }}}}")
    assert not found.losses
