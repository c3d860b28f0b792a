"""From the `vault:` block to the address of the transport."""

import pytest

from lessee.config.parsing import parse
from lessee.vault.client_factory import address_of
from lessee.vault.transport import Address

CERT = "auth: {method: cert, cert_file: web.pem, key_file: web.key}"


def address(block, **environ):
    return address_of(parse(f"vault: {{{block}}}", source="lessee.yaml", environ={}).vault, environ)


def test_every_address_and_tls_setting_reaches_the_transport():
    block = "address: https://v, namespace: team, ca_file: ca.pem, tls_server_name: vault, tls_skip_verify: true"
    files = "client_cert_file: c.pem, client_key_file: c.key"
    assert address(f"{block}, {files}") == Address(
        url="https://v",
        namespace="team",
        ca_file="ca.pem",
        server_name="vault",
        client_cert_file="c.pem",
        client_key_file="c.key",
        tls_skip_verify=True,
    )


@pytest.mark.parametrize("more", ["", ", client_cert_file: web.pem, client_key_file: web.key"])
def test_the_connection_presents_the_certificate_of_the_login(more):
    found = address(CERT + more)
    assert (found.client_cert_file, found.client_key_file) == ("web.pem", "web.key")


def test_each_address_has_its_own_proxy_from_the_environment():
    environ = {"https_proxy": "http://p:1", "HTTP_PROXY": "q:2", "no_proxy": "here,.local"}
    found = address("addresses: [https://a, http://b, https://here, https://v.local]", **environ)
    assert (found.url, found.proxy) == ("https://a", "http://p:1")
    assert found.urls == ("https://a", "http://b", "https://here", "https://v.local")
    assert list(found.proxies.items()) == [
        ("https://a", "http://p:1"),
        ("http://b", "http://q:2"),
        ("https://here", None),
        ("https://v.local", None),
    ]
