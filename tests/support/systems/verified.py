"""Real servers and programs that verify what clients have, with what an agent renders for them or would render."""

import base64
import getpass
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import bcrypt
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import OKPAlgorithm

from lessee.host.openbao import free_port
from support.environments.rotation_targets import FUTURE_VERSION
from support.models.template_library import TEMPLATES
from support.needs import need
from support.programs.sidecar import eventually

SBIN = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", os.environ["PATH"]))
SSHD, NGINX = shutil.which("sshd", path=SBIN), shutil.which("nginx", path=SBIN)
APP = "verifier"
"""The app of the servers' agent."""


class Verified:
    """Clients have one secret, and the verifier another."""

    calls = ()
    min_calls = 8
    secret, verifier_secret, settings = "", "", {}
    file = "verifier.json"
    """What an agent renders for the verifier."""
    format = "json"

    def __init__(self, folder, rendered=None):
        """`rendered`: the file of an agent; None: each login loads what is in Vault now."""
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.rendered = rendered
        self.target = {"secret": self.secret, "verifier_secret": self.verifier_secret, **self.settings}

    @classmethod
    @contextmanager
    def started(cls, folder, rendered=None):
        yield lambda: cls(folder, rendered)

    @property
    def template(self):
        """The template of the verifier's file."""
        return f'{{{{ secret("{self.verifier_secret}") | json }}}}'

    @contextmanager
    def files(self, *names):
        """Files for one login; several threads may log in."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield [Path(folder) / name for name in names]

    def loaded(self):
        """What the verifier has loaded."""
        return json.loads(self.rendered.read_text()) if self.rendered else self.accepted()

    def serve(self, bao, environment):
        """Verify with what this environment has. The verifier's agent confirms each version as soon as it exists."""
        self.bao, self.environment = bao, environment
        self.confirm(FUTURE_VERSION)

    def confirm(self, version, instance="host-1"):
        where = f"secret/metadata/{self.environment}/lessee/consumers/{APP}/{instance}"
        self.bao.ask("POST", where, {"custom_metadata": {self.verifier_secret: str(version)}})

    def accepted(self):
        """The verifier's secret; empty before the first rotation."""
        try:
            return self.bao.ask("GET", f"secret/data/{self.environment}/{self.verifier_secret}")["data"]["data"]
        except RuntimeError:
            return {}

    def secrets(self):
        """What operators have written before the first rotation."""
        fields, accepted = self.first()
        return {self.secret: fields, self.verifier_secret: accepted}

    def first(self):
        """The clients' and the verifier's fields before the first rotation."""
        raise NotImplementedError

    def orphans(self, fields):
        return self.ids() - {self.id_of(fields)}

    def old_is_revoked(self, fields):
        return not self.accepts(fields)


class SshKeys(Verified):
    """A real sshd, and a real ssh that logs in."""

    secret, verifier_secret, settings = "ssh/deploy", "ssh/servers", {"kind": "ssh-key"}
    file, format = "authorized_keys", "text"
    template = (TEMPLATES / "ssh/authorized_keys.j2").read_text()

    def __init__(self, folder, rendered, port):
        super().__init__(folder, rendered)
        self.port, self.allowed = port, Path(folder) / self.file

    @classmethod
    @contextmanager
    def started(cls, folder, rendered=None):
        folder = Path(folder)
        with sshd(folder, rendered or folder / cls.file) as port:
            yield lambda: cls(folder, rendered, port)

    def generate(self):
        file = Path(tempfile.mkdtemp(dir=self.folder)) / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file], check=True)
        return {"private_key": file.read_text(), "public_key": file.with_suffix(".pub").read_text().strip()}

    def first(self):
        key = self.generate()
        return key, {"authorized_keys": f"{key['public_key']}\n"}

    def accepts(self, fields):
        if not self.rendered:
            self.allowed.write_text(self.accepted().get("authorized_keys", ""))
        with self.files("id") as (file,):
            file.write_text(fields["private_key"])
            file.chmod(0o600)
            return ssh(self.port, file)

    def ids(self):
        return {line.split()[1] for line in self.accepted().get("authorized_keys", "").splitlines()}

    def id_of(self, fields):
        return fields["public_key"].split()[1]


class BasicAuthUsers(Verified):
    """A real nginx."""

    secret, verifier_secret = "web/client", "nginx/users"
    settings = MappingProxyType({"kind": "basic-auth", "users": ["reporter_a", "reporter_b"]})

    file, format = "htpasswd", "ini"
    template = (TEMPLATES / "nginx/htpasswd.j2").read_text()

    def __init__(self, folder, rendered, port):
        super().__init__(folder, rendered)
        self.port, self.users = port, Path(folder) / self.file

    @classmethod
    @contextmanager
    def started(cls, folder, rendered=None):
        folder = Path(folder)
        with nginx(folder, rendered or folder / cls.file) as port:
            yield lambda: cls(folder, rendered, port)

    def first(self):
        hashed = bcrypt.hashpw(b"created-manually-17", bcrypt.gensalt(4)).decode()
        fields = {"username": "reporter_a", "password": "created-manually-17", "url": "http://reports"}
        return fields, {"reporter_a": hashed}

    def accepts(self, fields):
        if not self.rendered:
            lines = [f"{name}:{value}\n" for name, value in self.accepted().items() if str(value).startswith("$")]
            self.users.write_text("".join(lines))
        return http_status(self.port, fields["username"], fields["password"]) == 200

    def ids(self):
        return {name for name, value in self.accepted().items() if str(value).startswith("$")}

    def id_of(self, fields):
        return fields["username"]


class TotpSeeds(Verified):
    """Codes of oathtool, which it also verifies."""

    secret, verifier_secret, settings = "totp/client", "totp/server", {"kind": "totp"}
    template = '{% set seeds = secret("totp/server").seeds %}{"seeds": [{{ seeds[0] | json }}, {{ seeds[-1] | json }}]}'

    def first(self):
        seed = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
        return {"seed": seed}, {"seeds": [seed]}

    def accepts(self, fields):
        need(shutil.which("oathtool"), "needs oathtool: apt install oathtool")
        now = f"--now={time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}"
        return oathtool(fields["seed"], now) in {oathtool(seed, now) for seed in self.loaded().get("seeds", [])}

    def ids(self):
        return set(self.accepted().get("seeds", []))

    def id_of(self, fields):
        return fields["seed"]


class JwtKeys(Verified):
    """PyJWT, with the JWKS of the verifiers."""

    secret, verifier_secret, settings = "jwt/issuer", "jwt/keys", {"kind": "jwt-key", "token_ttl": "1h"}

    def first(self):
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        names = {"kid": "by-an-operator", "alg": "EdDSA"}
        jwk = {**OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), **names}
        return {"private_key": pem, "kid": names["kid"], "algorithm": "EdDSA"}, {"jwks": json.dumps({"keys": [jwk]})}

    def accepts(self, fields):
        return self.is_valid(sign(fields))

    def is_valid(self, token):
        """Whether a verifier accepts a token."""
        keys = {key["kid"]: key for key in keys_of(self.loaded())}
        kid = jwt.get_unverified_header(token)["kid"]
        if kid not in keys:
            return False
        key = jwt.PyJWK(keys[kid])
        try:
            return jwt.decode(token, key.key, algorithms=[keys[kid]["alg"]])["sub"] == "simba"
        except jwt.InvalidTokenError:
            return False

    def ids(self):
        retired = self.accepted().get("retired", {})
        return {key["kid"] for key in keys_of(self.accepted()) if thumbprint(key) not in retired}

    def id_of(self, fields):
        return fields["kid"]

    def old_is_revoked(self, fields):
        """Its tokens stay valid until they expire."""
        del fields


class SigningKeys(Verified):
    """OpenSSL, with the public keys of the verifiers."""

    secret, verifier_secret = "sign/builds", "sign/public"
    settings = MappingProxyType({"kind": "signing-key", "delete_delay": "0s"})

    def first(self):
        command, file = ["openssl", "pkey", "-pubout"], self.folder / "first.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file], check=True)
        public = subprocess.run([*command, "-in", file], capture_output=True, text=True, check=True).stdout
        return {"private_key": file.read_text(), "public_key": public}, {"public_keys": public}

    def accepts(self, fields):
        return any(self.is_signed(fields, public) for public in blocks(self.loaded()))

    def is_signed(self, fields, public):
        """Whether this public key verifies a signature of this private key."""
        with self.files("key.pem", "message", "signature") as (key, message, signature):
            message.write_text("a build")
            key.write_text(fields["private_key"])
            command = ["openssl", "pkeyutl", "-rawin", "-in", message]
            subprocess.run([*command, "-sign", "-inkey", key, "-out", signature], check=True)
            key.write_text(public)
            verify = [*command, "-verify", "-pubin", "-inkey", key, "-sigfile", signature]
            return subprocess.run(verify, capture_output=True, check=False).returncode == 0

    def ids(self):
        return set(blocks(self.accepted()))

    def id_of(self, fields):
        return fields["public_key"]


class AgeIdentities(Verified):
    """The program age, which encrypts and decrypts."""

    secret, verifier_secret = "backup/recipient", "backup/identities"
    settings = MappingProxyType({"kind": "age-identity", "delete_delay": "0s"})

    def first(self):
        need(shutil.which("age"), "needs age: apt install age")
        text = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout
        return {"recipient": re.search("age1[a-z0-9]+", text)[0]}, {"identities": text}

    def accepts(self, fields):
        return self.decrypts(self.encrypt(fields))

    def encrypt(self, fields):
        command = ["age", "-r", fields["recipient"]]
        return subprocess.run(command, input=b"a backup", capture_output=True, check=True).stdout

    def decrypts(self, data):
        """Whether what is decrypted today has been encrypted so."""
        with self.files("identities") as (file,):
            file.write_text(self.loaded().get("identities", ""))
            done = subprocess.run(["age", "-d", "-i", file], input=data, capture_output=True, check=False)
        return done.stdout == b"a backup"

    def ids(self):
        found = self.accepted().get("identities", "").splitlines()
        command = ["age-keygen", "-y"]
        return {
            subprocess.run(command, input=line, capture_output=True, text=True, check=True).stdout.strip()
            for line in found
            if line.startswith("AGE-")
        }

    def id_of(self, fields):
        return fields["recipient"]


@contextmanager
def sshd(folder, allowed):
    """A real sshd of the user who runs the tests; its keys are in the file `allowed`. Yields its port."""
    need(SSHD and shutil.which("ssh"), "needs OpenSSH: apt install openssh-server openssh-client")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # As root, sshd does not start without this directory.
    host_key, port = folder / "host_key", free_port()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", host_key], check=True)
    settings = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "PidFile": "none",
        "HostKey": host_key,
        "AuthorizedKeysFile": allowed,
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "MaxStartups": "100",
        "PerSourcePenalties": "no",
    }
    file = folder / "sshd_config"
    file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    log = folder / "sshd.log"
    with log.open("wb") as stderr, subprocess.Popen([SSHD, "-D", "-e", "-f", file], stderr=stderr) as server:
        eventually(lambda: b"Server listening" in log.read_bytes(), "sshd")
        try:
            yield port
        finally:
            server.kill()


def ssh(port, key):
    """Whether a login with this key succeeds."""
    options = "BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"
    command = ["ssh", "-F", "none", "-i", key, "-p", str(port)]
    command += [part for option in options for part in ("-o", option)]
    done = subprocess.run(
        [*command, f"{getpass.getuser()}@127.0.0.1", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.returncode == 0


@contextmanager
def nginx(folder, file):
    """A real nginx that lets in the users of this file. Yields its port."""
    need(NGINX, "needs nginx: apt install nginx")
    port, config = free_port(), folder / "nginx.conf"
    paths = "".join(f"{name}_temp_path {folder};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.getuid() == 0 else ""
    config.write_text(
        f"daemon off; {user} pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        f"events {{}}\nhttp {{ access_log off;\n{paths}server {{ listen 127.0.0.1:{port};\n"
        f'location /in {{ auth_basic "reports"; auth_basic_user_file {file}; root {folder}; try_files /page =404; }}\n'
        "} }\n"
    )
    (folder / "page").write_text("reports")
    with subprocess.Popen([NGINX, "-e", folder / "nginx.log", "-c", config]) as server:
        eventually(lambda: http_status(port, "guest", "wrong"), "nginx")
        try:
            yield port
        finally:
            server.terminate()


def http_status(port, user, password):
    """The status of a response to this user; 0 where nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    try:
        connection.request("GET", "/in", headers={"Authorization": f"Basic {login}"})
        return connection.getresponse().status
    except ConnectionError:
        return 0
    finally:
        connection.close()


def oathtool(seed, now):
    """The code of a moment."""
    command = ["oathtool", "--totp", "--base32", now, "-"]
    return subprocess.run(command, input=seed, capture_output=True, text=True, check=True).stdout.strip()


def keys_of(accepted):
    """The keys of a JWKS."""
    return json.loads(accepted.get("jwks", '{"keys": []}'))["keys"]


def thumbprint(key):
    """What RFC 7638 calls a key, by which lessee records the keys that it removes later."""
    required = {name: key[name] for name in sorted({"crv", "e", "kty", "n", "x", "y"} & key.keys())}
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def blocks(accepted):
    """The public keys in PEM."""
    end = "-----END PUBLIC KEY-----\n"
    return [f"{one}{end}" for one in accepted.get("public_keys", "").split(end)[:-1]]


def sign(fields, **claims):
    """A token of an issuer with these keys."""
    headers = {"kid": fields["kid"]}
    return jwt.encode({"sub": "simba", **claims}, fields["private_key"], algorithm=fields["algorithm"], headers=headers)
