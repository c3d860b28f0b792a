"""What `make compat` creates on a server: all of it begins with one name of its own, and all of it is removed."""

import os
import secrets
import time
from contextlib import contextmanager

from lessee.config import Vault
from lessee.config.grammar.vault import TokenAuth
from lessee.core.errors import LesseeError
from lessee.host.clock import boot_time
from lessee.vault.admin import admin_client

PREFIX = "lessee-compat-"
POLICY = f"""\
path "sys/mounts" {{ capabilities = ["read"] }}
path "sys/auth" {{ capabilities = ["read"] }}
path "sys/policies/acl" {{ capabilities = ["list"] }}
path "sys/namespaces" {{ capabilities = ["list"] }}
path "sys/mounts/{PREFIX}*" {{ capabilities = ["create", "update", "delete"] }}
path "sys/auth/{PREFIX}*" {{ capabilities = ["create", "update", "delete", "sudo"] }}
path "sys/policies/acl/{PREFIX}*" {{ capabilities = ["create", "update", "delete"] }}
path "sys/namespaces/{PREFIX}*" {{ capabilities = ["create", "update", "delete"] }}
path "auth/{PREFIX}*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}
path "{PREFIX}*" {{ capabilities = ["create", "read", "update", "delete", "list", "sudo"] }}
path "identity/entity-alias/id" {{ capabilities = ["list"] }}
path "identity/entity/id/*" {{ capabilities = ["read", "delete"] }}
"""
"""All that the token in $VAULT_TOKEN needs."""
DELETION_TIMEOUT = 60.0
_ROOT = {"root"}


def vault(namespace):
    """The server of $VAULT_ADDR, in this namespace."""
    return Vault(
        address=os.environ["VAULT_ADDR"],
        addresses=(),
        namespace=namespace,
        ca_file=os.environ.get("VAULT_CACERT"),
        tls_server_name=os.environ.get("VAULT_TLS_SERVER_NAME"),
        client_cert_file=os.environ.get("VAULT_CLIENT_CERT"),
        client_key_file=os.environ.get("VAULT_CLIENT_KEY"),
        tls_skip_verify=False,
        auth=TokenAuth(token_file=None),
        insecure_http=True,
    )


class Space:
    """Mounts, policies and namespaces of one run. `close` removes them, in whatever state they are."""

    def __init__(self, admin, namespace=None):
        self.admin, self.namespace = admin, namespace
        self.name = f"{PREFIX}{secrets.token_hex(4)}"
        self._made = []

    def mount(self, kind, name=None, **options):
        """A secrets engine; its path."""
        path = f"{self.name}-{name or kind}"
        self.make(f"sys/mounts/{path}", {"type": kind, "options": options})
        return path

    def auth(self, name, kind=None):
        """An auth method; its path without `auth/`."""
        path = f"{self.name}-{name}"
        self.make(f"sys/auth/{path}", {"type": kind or name})
        return path

    def policy(self, text, name="agent"):
        """A policy; its name."""
        path = f"{self.name}-{name}"
        self.make(f"sys/policies/acl/{path}", {"policy": text}, method="PUT")
        return path

    def child(self):
        """A namespace below the one in use; its full path."""
        self.make(f"sys/namespaces/{self.name}", {})
        return f"{self.namespace.strip('/')}/{self.name}" if self.namespace else self.name

    def make(self, path, body, method="POST"):
        # It is removed even if the answer does not arrive.
        if path not in self._made:
            self._made.append(path)
        self.admin.write(path, body, method=method)

    def close(self):
        """Remove everything, and return what is left."""
        problems = []
        accessors = self._accessors()
        for path in reversed(self._made):
            try:
                self.admin.delete(path)
            except LesseeError as exc:
                problems.append(f"{path}: {exc}")
        try:
            self._remove_entities(accessors)
        except LesseeError as exc:
            problems.append(f"identity entities: {exc}")
        # Vault deletes a namespace after it has answered.
        end = time.monotonic() + DELETION_TIMEOUT
        while not problems and (left := remains(self.admin, self.name)):
            if time.monotonic() > end:
                return left
            time.sleep(0.2)
        return problems

    def _accessors(self):
        """The accessors of this space's auth methods, which entities name."""
        if not any(path.startswith("sys/auth/") for path in self._made):
            return set()
        try:
            methods = self.admin.read("sys/auth") or {}
        except LesseeError:
            return set()
        return {about["accessor"] for path, about in methods.items() if path.startswith(self.name)}

    def _remove_entities(self, accessors):
        """Vault creates an entity at the first login of each account, and leaves it when the auth method is removed."""
        if not accessors:
            return
        found = (self.admin.read("identity/entity-alias/id", {"list": "true"}) or {}).get("key_info") or {}
        for entity in {alias["canonical_id"] for alias in found.values() if alias["mount_accessor"] in accessors}:
            about = self.admin.read(f"identity/entity/id/{entity}") or {}
            if {alias["mount_accessor"] for alias in about.get("aliases") or ()} <= accessors:
                self.admin.delete(f"identity/entity/id/{entity}")


def missing_rights(admin, name):
    """What the token may not do and must, as lines; empty if it may all."""
    needed = {
        f"sys/mounts/{name}-kv": {"update", "delete"},
        f"sys/auth/{name}-approle": {"update", "delete", "sudo"},
        f"sys/policies/acl/{name}": {"update", "delete"},
        f"auth/{name}-approle/role/agent": {"update"},
        f"{name}-kv/data/a": {"update"},
        "sys/mounts": {"read"},
        "sys/auth": {"read"},
        "sys/policies/acl": {"list"},
        "identity/entity-alias/id": {"list"},
        "identity/entity/id/a": {"read", "delete"},
    }
    granted = admin.capabilities(list(needed))
    for path, wanted in needed.items():
        lacks = sorted(wanted - set(granted[path]))
        if lacks and not _ROOT & set(granted[path]):
            yield f"{', '.join(lacks)} on {path}"


def remains(admin, prefix=PREFIX):
    """The paths on the server that begin with this name: those of one run, or of all runs."""
    found = []
    for kind in ("sys/mounts", "sys/auth"):
        found += [f"{kind}/{path}".rstrip("/") for path in admin.read(kind) or {} if path.startswith(prefix)]
    for kind in ("sys/policies/acl", "sys/namespaces"):
        try:
            names = admin.list(kind)
        except LesseeError:  # This server has no namespaces, or the token may not list them.
            names = ()
        found += [f"{kind}/{name}".rstrip("/") for name in names if name.startswith(prefix)]
    return found


@contextmanager
def client(namespace=None):
    """A client of the server in $VAULT_ADDR with $VAULT_TOKEN."""
    with admin_client(vault(namespace), os.environ, boot_time) as admin:
        yield admin
