"""Certificate, key and chain are from one issue, in one generation, and are replaced before they expire."""

import json
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lessee.host.openbao import OpenBao
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Fault

CERT = 'certificate("pki/issue/web", common_name="web.local", ttl="{ttl}", key="{key}", key_type="rsa")'
POLICY = 'path "pki/*" { capabilities = ["update"] }'


@pytest.fixture
def server(tmp_path):
    with OpenBao(tmp_path) as bao:
        bao.ask("POST", "sys/mounts/pki", {"type": "pki"})
        bao.ask("POST", "pki/root/generate/internal", {"common_name": "test CA", "ttl": "24h"})
        bao.ask("POST", "pki/roles/web", {"allow_any_name": True, "ttl": "1h"})
        yield bao


@pytest.fixture
def sidecar(server, tmp_path, memory):
    agent = Sidecar(server.address, tmp_path, memory)
    agent.log_in_by_approle(server, POLICY)
    yield agent
    agent.close()


def write_templates(sidecar, *, key="local", ttl="1h"):
    call = CERT.format(key=key, ttl=ttl)
    if key == "server":  # The role decides the key type.
        call = call.replace(', key_type="rsa"', "")
    sidecar.template("tls.crt.j2", "{% set c = " + call + ' %}{{ c.certificate }}\n{{ c.ca_chain | join("\\n") }}\n')
    sidecar.template("tls.key.j2", "{{ " + call + ".private_key }}\n")
    sidecar.template("ca.crt.j2", "{{ " + call + ".issuing_ca }}\n")


def pair(sidecar):
    certificate = x509.load_pem_x509_certificates((sidecar.directory / "tls.crt").read_bytes())[0]
    key = load_pem_private_key((sidecar.directory / "tls.key").read_bytes(), None)
    return certificate, key


@pytest.mark.thorough
@pytest.mark.parametrize("key", ["local", "server"])
def test_key_certificate_and_chain_match_and_a_restart_issues_none(sidecar, key):
    write_templates(sidecar, key=key)
    sidecar.start()
    certificate, private = pair(sidecar)
    assert certificate.public_key() == private.public_key()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sidecar.directory / "tls.crt", sidecar.directory / "tls.key")
    authority = x509.load_pem_x509_certificate((sidecar.directory / "ca.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)
    sidecar.stop()
    sidecar.start("--log-level", "debug")
    assert pair(sidecar)[0] == certificate
    assert sidecar.status()["totals"]["leases_issued"] == 0
    said = sidecar.log.read_text() + json.dumps(sidecar.status()) + sidecar.command("check").stdout
    lines = (sidecar.directory / "tls.key").read_text().splitlines()[1:-2]
    assert not [line for line in lines if line in said]


def test_a_certificate_is_replaced_before_it_expires_and_always_matches_its_key(sidecar, app):
    write_templates(sidecar, ttl="12s")
    sidecar.web["notify"] = {"process": {"name": "lessee-tls"}, "action": "SIGHUP"}
    sidecar.start()
    app("lessee-tls", sidecar.directory / "ca.crt")
    serials = set()

    def is_valid():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = (sidecar.directory / "..data").resolve()
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        serials.add(x509.load_pem_x509_certificates((folder / "tls.crt").read_bytes())[0].serial_number)
        return len(serials) >= 3

    eventually(is_valid, "the third certificate")
    events = [event["event"] for event in sidecar.events()]
    assert "lease expired" not in events
    assert sidecar.status()["leases"][0]["lease_id"] is None


def test_a_certificate_outlives_every_token_and_an_outage_longer_than_its_tokens_ttl(server, proxy, sidecar):
    server.ask("POST", f"auth/approle/role/{sidecar.disk.name}", {"token_ttl": "4s", "token_max_ttl": "5s"})
    sidecar.config["vault"]["address"] = proxy.address
    sidecar.web["on_expiry"] = "remove"
    write_templates(sidecar)
    sidecar.start()
    first, _ = pair(sidecar)
    # It has a token of its own for each few seconds, and no lease that ends with one of them.
    sidecar.until(lambda status: status["totals"]["logins"] >= 3)
    proxy.fault = Fault.REFUSE
    sidecar.until(lambda status: status["token"] is None and status["leases"])
    sidecar.process.kill()
    sidecar.process.wait()
    sidecar.start(wait=False)
    sidecar.until(lambda status: status["vault"]["since"] and status["apps"]["web"]["generation"])
    assert pair(sidecar)[0] == first
    proxy.clear()
    sidecar.until(lambda status: status["fresh"] and not status["problems"] and status["totals"]["logins"] >= 2)
    assert pair(sidecar)[0] == first
    said = [event["event"] for event in sidecar.events()]
    assert said.count("lease issued") == 1
    assert "lease expired" not in said
    assert "files contain expired secrets" not in said
