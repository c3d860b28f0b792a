"""A real server with every kind of object that can be saved, and `lessee backup` for it."""

import shutil
import subprocess
from contextlib import closing
from pathlib import Path

from lessee.host.openbao import ROOT_TOKEN
from lessee.ops.backup.secret_reader import secrets
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport
from support.needs import need
from support.programs.sidecar import Sidecar, eventually

CANARY = "canary-7c1e"
NAMES = ("plain", "with blank", "\u00fc \u2603", "per%2Fcent", "a", "a/b", "q?x=1&y#z", "+plus", "deep/er/and/deeper")


MOUNTS = {"secret/": 2, "old/": 1, "team/kv/": 2}
KEY = bytes(32)


def canary(*words):
    """A value that must not appear in any output."""
    return "-".join((CANARY, *map(str, words)))


def fill(server):
    """Secrets in every possible state, and roles of every auth method whose roles are saved."""
    fill_secrets(server)
    ask = server.ask
    ask("PUT", "sys/policies/acl/app", {"policy": 'path "secret/data/production/*" { capabilities = ["read"] }'})
    for method in ("approle", "userpass", "jwt", "kubernetes", "cert"):
        ask("POST", f"sys/auth/{method}", {"type": method, "config": {"default_lease_ttl": "30m"}})
    ask("POST", "sys/auth/second", {"type": "approle", "description": "another"})
    for mount in ("approle", "second"):
        ask("POST", f"auth/{mount}/role/web", {"token_policies": ["app"], "token_ttl": "20m", "secret_id_num_uses": 3})
        ask("POST", f"auth/{mount}/role/web/secret-id")
    ask("POST", "auth/userpass/users/anna", {"password": canary("anna"), "token_policies": ["app"]})
    ask("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [_public_key()]})
    ask("POST", "auth/jwt/role/ci", {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["ci"]})
    bound = {"bound_service_account_names": ["web"], "bound_service_account_namespaces": ["prod"], "audience": "k8s"}
    ask("POST", "auth/kubernetes/role/web", bound)
    ask("POST", "auth/cert/certs/web", {"certificate": _certificate(), "token_policies": ["app"]})
    ask("POST", "auth/token/roles/short", {"token_explicit_max_ttl": "1h", "orphan": True})
    ask("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "240h"}})
    ask("POST", "pki/root/generate/internal", {"common_name": "test CA", "ttl": "24h", "key_type": "ec"})
    ask("POST", "pki/roles/web", {"allow_any_name": True, "ttl": "1h", "key_type": "ec"})
    ask("POST", "sys/mounts/transit", {"type": "transit"})
    ask("POST", "transit/keys/app", {})
    ask("POST", "sys/mounts/database", {"type": "database"})
    connection = {
        "plugin_name": "postgresql-database-plugin",
        "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:9/postgres",
        "username": "root",
        "password": canary("connection"),
        "verify_connection": False,
        "allowed_roles": ["*"],
    }
    ask("POST", "database/config/main", connection)
    creation = {"db_name": "main", "creation_statements": ["CREATE ROLE"], "default_ttl": "1h", "max_ttl": "24h"}
    ask("POST", "database/roles/simba", creation)


def fill_secrets(server):
    ask = server.ask
    for name in NAMES:
        put(server, f"production/{name}", canary(name.encode().hex()))
    for number in range(3):
        put(server, "production/database/postgres", canary("postgres", number))
    # Version 1 destroyed, 2 deleted, 3 readable.
    for number in range(3):
        put(server, "states/mixed", canary("mixed", number))
    ask("PUT", "secret/destroy/states/mixed", {"versions": [1]})
    ask("POST", "secret/delete/states/mixed", {"versions": [2]})
    for number in range(2):
        put(server, "states/last-deleted", canary("last-deleted", number))
    ask("DELETE", "secret/data/states/last-deleted")
    put(server, "states/last-destroyed", canary("last-destroyed"))
    ask("PUT", "secret/destroy/states/last-destroyed", {"versions": [1]})
    ask("POST", "secret/metadata/states/pruned", {"max_versions": 2, "custom_metadata": {"owner": "simba"}})
    for number in range(5):
        put(server, "states/pruned", canary("pruned", number))
    # More versions than max_versions allows, because it was lowered later.
    for number in range(4):
        put(server, "states/lowered", canary("lowered", number))
    ask("POST", "secret/metadata/states/lowered", {"max_versions": 1, "cas_required": True})
    ask("POST", "secret/metadata/states/no-version", {"custom_metadata": {"only": "metadata"}})
    ask("POST", "secret/metadata/states/expires", {"delete_version_after": "10h"})
    put(server, "states/expires", canary("expires"))
    ask("POST", "secret/data/states/typed", {"data": {"n": 1, "f": 1.5, "t": True, "z": None, "l": [1, {"a": CANARY}]}})
    ask("POST", "secret/data/states/empty", {"data": {}})
    ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}, "description": "first mount"})
    for name in ("one", "folder/two"):
        ask("POST", f"old/{name}", {"value": canary("old", name)})
    ask("POST", "sys/mounts/team/kv", {"type": "kv", "options": {"version": "2"}})
    eventually(lambda: _is_ready(server, "team/kv/config"), "the mount")
    ask("POST", "team/kv/config", {"max_versions": 12, "cas_required": True})
    ask("POST", "team/kv/data/shared", {"data": {"value": canary("team")}, "options": {"cas": 0}})


def put(server, path, value):
    from urllib.parse import quote  # noqa: PLC0415  # These names need quoting.

    server.ask("POST", f"secret/data/{quote(path)}", {"data": {"value": value}})


def contents(server, mounts=MOUNTS):
    """All secrets with all versions, without times."""
    found = {}
    with closing(Transport(Address(server.address))) as transport:
        for secret in secrets(AdminClient(transport, ROOT_TOKEN), mounts, KEY):
            versions = [(version.number, version.data, version.destroyed) for version in secret.versions]
            found[secret.where] = secret.current, secret.settings, versions
    return found


def without_pruned(found):
    """Without destroyed versions: they are placeholders for versions that the first server had dropped."""
    return {
        where: (current, settings, [version for version in versions if not version[2]])
        for where, (current, settings, versions) in found.items()
    }


class Backups(Sidecar):
    """`lessee backup` with its own configuration, key and directory."""

    def __init__(self, address, disk, memory, **block):
        super().__init__(address, disk, memory)
        self.key, self.archives = disk / "key.txt", disk / "archives"
        self.public = make_key(self.key)
        self.config = {"vault": {"address": address}, "backup": {"directory": str(self.archives), **block}}
        self.environ["LESSEE_BACKUP_KEY_FILE"] = str(self.key)

    def backup(self, *arguments, code=0, text="", **settings):
        """Run `lessee backup` and return its output. Checks the exit code, and that no value is printed."""
        self.write_config()
        said = self.command("backup", *arguments, **settings)
        assert said.returncode == code, (said.returncode, said.stdout, said.stderr)
        assert CANARY not in said.stdout + said.stderr
        assert "Traceback" not in said.stderr
        assert text in said.stderr
        return said.stdout if code in {0, 1} else said.stderr

    def save(self, **settings):
        """Save, and return the new archive."""
        before = set(self.found())
        self.backup("save", **settings)
        (new,) = set(self.found()) - before
        return new

    def found(self):
        return sorted(self.archives.glob("lessee-*.age"))


def make_key(path: Path):
    """Write an identity file as `age-keygen` does; return the public key."""
    import pyrage  # noqa: PLC0415  # Only these tests need it.

    identity = pyrage.x25519.Identity.generate()
    path.touch(0o600)
    path.write_text(f"# a key of a test\n{identity}\n")
    return str(identity.to_public())


def _is_ready(server, path):
    try:
        return server.ask("GET", path)
    except RuntimeError:
        return None


def _public_key():
    made = _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    return _openssl("pkey", "-pubout", text=made)


def _certificate():
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    return _openssl("req", "-x509", *curve, "-nodes", "-keyout", "/dev/null", "-subj", "/CN=web")


def _openssl(*arguments, text=None):
    need(shutil.which("openssl"), "needs openssl: apt install openssl")
    said = subprocess.run(["openssl", *arguments], input=text, capture_output=True, text=True, check=True)
    return said.stdout
