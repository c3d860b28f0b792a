"""A real OpenBao server by a configuration file, before its first use: neither initialized nor unsealed."""

import datetime as dt
import ipaddress
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lessee.host.openbao import find_bao, free_port
from support.paths import ROOT
from support.programs.forks import PATIENCE, run_lessee
from support.programs.sidecar import eventually

FOLDER = ROOT / "compose" / "vault"
MEMORY = """
ui       = false
api_addr = "http://127.0.0.1:{port}"
listener "tcp" {{
  address     = "127.0.0.1:{port}"
  tls_disable = true
}}
storage "inmem" {{}}
"""
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


class Server:
    """`with Server(folder, port, text) as server:` runs `bao server -config`, and ends it. `ca`: it speaks TLS."""

    def __init__(self, folder, port, text, *, ca=None):
        self.folder, self.port = folder, port
        self.address = f"{'https' if ca else 'http'}://127.0.0.1:{port}"
        self.log = folder / "server.log"
        self._context = ssl.create_default_context(cafile=ca) if ca else None
        (folder / "server.hcl").write_text(text)
        vault = {"address": self.address} | ({"ca_file": str(ca)} if ca else {})
        (folder / "lessee.yaml").write_text(yaml.safe_dump({"vault": vault}))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [find_bao(), "server", f"-config={self.folder / 'server.hcl'}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": str(self.folder)},
            )
        eventually(self._answers, "the server's answer")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ask(self, method, path, body=None, *, token=None):
        """One request. Raises RuntimeError with the status where it is refused."""
        request = urllib.request.Request(
            f"{self.address}/v1/{path}",
            json.dumps(body).encode() if body is not None else None,
            {"X-Vault-Token": token} if token else {},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._context) as answer:
                content = answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                raise RuntimeError(f"{method} {path}: {exc.code}") from None
        return json.loads(content) if content else {}

    def setup(self, *arguments, token="", under=()):
        """`lessee setup`, from its start to its end. `under`: what starts it."""
        words = ["setup", *map(str, arguments)]
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "VAULT_TOKEN": token}
        if not under:
            return run_lessee(*words, cwd=self.folder, env=environ)
        command, where = [*under, sys.executable, "-m", "lessee", *words], {"cwd": self.folder, "env": environ}
        return subprocess.run(command, **where, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "sys/seal-status")
        except (OSError, RuntimeError):
            return None


def adapted(name, folder, numbers):
    """The file with the test's own folder, addresses and ports put in."""
    text = (FOLDER / name).read_text()
    text = text.replace('"/vault/', f'"{folder}/').replace('"https://vault:', '"https://127.0.0.1:')
    text = text.replace('"0.0.0.0:', '"127.0.0.1:')
    for port, number in zip((8200, 8201), numbers, strict=True):
        text = text.replace(f':{port}"', f':{number}"')
    return text


def ports(count):
    """Free ones of loopback, also after a server that had one was stopped."""
    found = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def certificate(folder):
    """Make ca.crt, tls.crt and tls.key for loopback."""
    folder.mkdir()
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA of the tests")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
    # What Python 3.13 wants of a chain: who signed it, and that it may.
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    ca = (
        _begun(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    )
    alternative = [x509.DNSName("vault"), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = (
        _begun(name, ca_name, key)
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(signer, critical=False)
    )
    for file, made in (("ca.crt", ca), ("tls.crt", leaf)):
        signed = made.sign(ca_key, hashes.SHA256())
        (folder / file).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _begun(name, issuer, key):
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(days=30))
    )
