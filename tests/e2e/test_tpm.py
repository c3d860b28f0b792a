"""A login with a client certificate whose key never leaves a TPM: OpenSSL's provider signs with it."""

import pytest

from lessee.host.openbao import OpenBao, free_port
from support.programs.sidecar import Sidecar
from support.servers.certificate_authority import Authority
from support.servers.software_tpm import SoftwareTpm

LISTENER = """
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  tls_cert_file = "{folder}/server.pem"
  tls_key_file  = "{folder}/server.pem"
}}
"""
POLICY = 'path "secret/*" { capabilities = ["read", "list"] }'


@pytest.fixture
def tpm(tmp_path):
    tpm = SoftwareTpm(tmp_path)
    yield tpm
    tpm.close()


def test_an_agent_logs_in_with_a_key_of_the_tpm_and_without_the_provider_the_error_names_it(tpm, tmp_path, memory):
    Authority(tmp_path / "ca.pem").issue(tmp_path / "server.pem", 9, common_name="server")
    key, certificate, port = tmp_path / "key.pem", tmp_path / "certificate.pem", free_port()
    tpm.make_key(key, certificate, common_name="web")
    assert key.read_text().startswith("-----BEGIN TSS2 PRIVATE KEY-----")
    with OpenBao(tmp_path, config=LISTENER.format(port=port, folder=tmp_path)) as server:
        server.put("testing/db", password="canary-of-the-tpm")
        server.ask("PUT", "sys/policies/acl/web", {"policy": POLICY})
        server.ask("POST", "sys/auth/cert", {"type": "cert"})
        server.ask("POST", "auth/cert/certs/web", {"certificate": certificate.read_text(), "token_policies": ["web"]})
        agent = Sidecar(f"https://127.0.0.1:{port}", tmp_path, memory)
        del agent.environ["VAULT_TOKEN"]
        agent.config["vault"] |= {
            "ca_file": str(tmp_path / "ca.pem"),
            "auth": {"method": "cert", "role": "web", "cert_file": str(certificate), "key_file": str(key)},
        }
        agent.template("db.txt.j2", '{{ secret("db").password }}\n')
        try:
            agent.start(wait=False)
            agent.until(lambda status: any("it is in a TPM" in line for line in status["problems"]))
            agent.stop()
            agent.environ |= tpm.environ
            agent.start()
            agent.until_file("db.txt", "canary-of-the-tpm\n")
            assert agent.status()["sandbox"]["seccomp"] == "on"
        finally:
            agent.close()
