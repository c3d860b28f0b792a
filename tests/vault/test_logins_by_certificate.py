"""Logging in with a TLS client certificate, against a real OpenBao that listens with TLS."""

import datetime as dt
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lessee.core.failures import Kind
from lessee.host.clock import boot_time
from lessee.host.openbao import OpenBao, free_port
from lessee.vault.auth.login import look_up, renew
from lessee.vault.transport import RequestFailedError

LISTENER = """
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  tls_cert_file = "{folder}/server.pem"
  tls_key_file  = "{folder}/server.key"
}}
"""


_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


class Authority:
    """A certificate authority."""

    def __init__(self, name):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = named(name)
        usage = x509.KeyUsage(**dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True})
        self._certificate = self._sign(self._name, self._key.public_key(), x509.BasicConstraints(True, 0), usage)
        self.pem = self._certificate.public_bytes(Encoding.PEM).decode()

    def issue(self, folder, file, name, *, spiffe_id=None):
        """A certificate and its key in FILE.pem and FILE.key; its serial number as Vault writes it.

        `spiffe_id`: it is an X.509-SVID, whose name is that URI. Without `name` it has no common name.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id) if spiffe_id else loopback])
        subject = named(name) if name else x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "US")])
        certificate = self._sign(subject, key.public_key(), names)
        (folder / f"{file}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        (folder / f"{file}.key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )
        return str(certificate.serial_number)

    def _sign(self, subject, public_key, *extensions):
        now = dt.datetime.now(dt.UTC)
        key_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = x509.CertificateBuilder(self._name, subject, public_key, x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(minutes=1))
        builder = builder.not_valid_after(now + dt.timedelta(hours=1))
        # Key identifiers, and the CA's usage: Python 3.13 wants them.
        for one in (*extensions, key_id, authority):
            builder = builder.add_extension(one, critical=isinstance(one, x509.BasicConstraints | x509.KeyUsage))
        return builder.sign(self._key, SHA256())


def named(name):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


@pytest.fixture(scope="module")
def authority():
    return Authority("lessee's tests")


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority):
    """An OpenBao with the role `web` for the certificates of the authority."""
    folder, port = tmp_path_factory.mktemp("openbao-tls"), free_port()
    authority.issue(folder, "server", "vault")
    (folder / "ca.pem").write_text(authority.pem)
    with OpenBao(folder, config=LISTENER.format(port=port, folder=folder)) as bao:
        bao.ask("POST", "sys/auth/cert", {"type": "cert"})
        role = {"certificate": authority.pem, "allowed_common_names": ["web"], "token_ttl": "1h"}
        bao.ask("POST", "auth/cert/certs/web", role)
        bao.tls_address, bao.ca_file = f"https://127.0.0.1:{port}", str(folder / "ca.pem")
        yield bao


@pytest.fixture
def identity(server, tmp_path, identities):
    """With the certificate in client.pem."""
    files = {"cert_file": str(tmp_path / "client.pem"), "key_file": str(tmp_path / "client.key")}

    def make(**auth):
        auth = {"method": "cert", **files, **auth}
        return identities(auth, address=server.tls_address, ca_file=server.ca_file)

    return make


def serial_of(server, grant):
    """The certificate of the login that returned a token."""
    return server.ask("POST", "auth/token/lookup", {"token": grant.value})["data"]["meta"]["serial_number"]


@pytest.mark.parametrize("role", [{"role": "web"}, {}])
def test_a_login_presents_its_certificate(server, authority, identity, tmp_path, role):
    serial = authority.issue(tmp_path, "client", "web")
    grant = identity(**role).login()
    assert serial_of(server, grant) == serial
    assert (grant.token.ttl, grant.token.renewable, grant.token.ours) == (3600, True, True)


def test_the_next_login_presents_a_renewed_certificate(server, authority, identity, tmp_path):
    one, marks = identity(), []
    for _ in range(2):
        serial = authority.issue(tmp_path, "client", "web")
        grant = one.login()
        assert serial_of(server, grant) == serial
        assert look_up(one.transport, grant.value, boot_time).id == grant.token.id
        marks.append(one.method.fingerprint())
    assert marks[0] != marks[1]


def test_the_files_of_spiffe_helper_are_a_login_and_each_rotation_is_the_next_one(
    server, authority, identity, tmp_path
):
    role = {"certificate": authority.pem, "allowed_uri_sans": ["spiffe://example.org/web"], "token_ttl": "1h"}
    server.ask("POST", "auth/cert/certs/svid", role)
    one = identity(role="svid")
    for _ in range(2):
        serial = authority.issue(tmp_path, "client", "web", spiffe_id="spiffe://example.org/web")
        assert serial_of(server, one.login()) == serial
    authority.issue(tmp_path, "client", "web", spiffe_id="spiffe://example.org/other")
    assert one.failure().kind is Kind.DENIED
    # SPIRE's certificates have a common name only if their entry has a DNS name.
    authority.issue(tmp_path, "client", None, spiffe_id="spiffe://example.org/web")
    assert "500" in one.failure().text


def test_a_certificate_that_no_role_allows_is_reported_with_files_mount_and_role(authority, identity, tmp_path):
    authority.issue(tmp_path, "client", "someone-else")
    failure = identity(role="web").failure()
    assert failure.kind is Kind.DENIED
    files = f"{tmp_path / 'client.pem'} and {tmp_path / 'client.key'}"
    assert failure.text.startswith(f"Vault does not accept {files} at auth/cert/login, name web;")


def test_a_certificate_of_another_authority_is_refused(identity, tmp_path):
    Authority("a stranger").issue(tmp_path, "client", "web")
    assert identity().failure().kind is Kind.DENIED


@pytest.mark.parametrize("suffix", ["pem", "key"])
def test_an_empty_or_missing_file_is_reported_by_name(authority, identity, tmp_path, suffix):
    authority.issue(tmp_path, "client", "web")
    file = tmp_path / f"client.{suffix}"
    file.write_text("\n")
    assert identity().failure().text == f"{file} is empty"
    file.unlink()
    assert identity().failure().text == f"cannot read {file}: No such file or directory"


def test_a_token_is_renewed_only_with_the_certificate_of_its_login(authority, identity, tmp_path):
    authority.issue(tmp_path, "client", "web")
    one = identity()
    value = one.login().value
    assert renew(one.transport, value, boot_time).renewable
    authority.issue(tmp_path, "client", "web")
    with pytest.raises(RequestFailedError) as caught:
        renew(one.transport, value, boot_time)
    # Vault answers 500; only a new login helps.
    assert caught.value.failure.kind is Kind.PATH_ERROR
    assert renew(one.transport, one.login().value, boot_time).renewable
