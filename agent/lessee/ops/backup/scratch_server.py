"""Runs a private, temporary server to restore an archive into."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from lessee.core.errors import DeniedError, LesseeError, VaultRequestError, VaultUnreachableError
from lessee.host.openbao import find_bao
from lessee.host.private_folder import private_folder
from lessee.process import network_namespace
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport

_PREFIX = "lessee-verify-"
_PATIENCE = 30.0
_PAUSE = 0.05
_CONFIG = """
listener "unix" {{
  address     = "{folder}/api.sock"
  socket_mode = "600"
  disable_unauthed_generate_root_endpoints = false
}}
storage "{storage}" {{
{settings}
}}
"""
# Raft needs an address for peers; the server's own network namespace has none.
_PEERS = """
api_addr     = "http://127.0.0.1:8200"
cluster_addr = "http://127.0.0.1:8201"
listener "tcp" {
  address         = "127.0.0.1:8200"
  cluster_address = "127.0.0.1:8201"
  tls_disable     = true
}
"""
_RAFT = '  path                   = "{folder}/data"\n  node_id = "scratch"\n  performance_multiplier = 1'


@contextmanager
def scratch_server(*, raft: bool = False, keys: int = 1) -> Iterator[AdminClient]:
    """A client with the root token of an empty server, which listens on a socket that only this user can open.

    Its directory is private, on tmpfs if possible. The server ends with this process, however that ends, and has no
    network where the kernel allows that. With `raft` this isolation is required, and the server sees no other files:
    with another server's data it would revoke that server's leases, rotate its database passwords, and write to its
    audit log. `keys`: the number of unseal keys, also of a snapshot, because a server remembers its threshold.
    Raises LesseeError without `bao`, or without that isolation.
    """
    with private_folder(_PREFIX) as folder:
        for part in ("data", "tmp"):
            (folder / part).mkdir()
        process = _start(folder, raft=raft)
        try:
            with closing(Transport(Address(f"unix://{folder}/api.sock"))) as transport:
                client = AdminClient(transport, "", timeout=_PATIENCE)
                yield client.with_token(_initialize(client, process, folder / "log", keys))
        finally:
            process.kill()
            process.wait()


def _start(folder: Path, *, raft: bool) -> "subprocess.Popen[bytes]":
    root = Path("/") if raft else folder
    settings = _RAFT.format(folder=root) if raft else ""
    config = _CONFIG.format(folder=root, storage="raft" if raft else "inmem", settings=settings)
    (folder / "scratch.hcl").write_text(config + (_PEERS if raft else ""), encoding="utf-8")
    environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(root), "BAO_RAFT_AUTOPILOT_DISABLE": "true"}
    # Started by its file: `-m` would search the current directory first, and a home that it cannot see.
    alone = [sys.executable, "-I", network_namespace.__file__, str(folder) if raft else network_namespace.ANY]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*alone, find_bao(), "server", f"-config={root / 'scratch.hcl'}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ,
        )


def _initialize(client: AdminClient, process: "subprocess.Popen[bytes]", log: Path, keys: int) -> str:
    """Its root token."""
    _until(lambda: b"server started!" in log.read_bytes() or _has_ended(process), "to start")
    if process.returncode == network_namespace.REFUSED:
        todo = "allow it to create namespaces (user namespaces, or CAP_SYS_ADMIN and CAP_SYS_CHROOT)"
        raise LesseeError("cannot start a server without network and files here", todo=todo)
    if process.returncode is not None:
        raise LesseeError("the scratch server did not start", todo="check that `bao server -dev` starts")
    answer = client.hvac.sys.initialize(secret_shares=keys, secret_threshold=keys)
    unseal(client, answer["keys"])
    return str(answer["root_token"])


def unseal(client: AdminClient, keys: list[str]) -> None:
    """Unseal the server. Raises DeniedError where the keys belong to another one."""
    _until(lambda: _answers(client), "to answer")
    if client.hvac.sys.submit_unseal_keys(keys)["sealed"]:
        raise DeniedError("the scratch server stays sealed", todo="give as many unseal keys as its threshold needs")
    _until(lambda: _is_active(client), "to be active")


def _answers(client: AdminClient) -> bool:
    with suppress(VaultRequestError):
        return client.seal_status().data.get("sealed") is not None
    return False


def _is_active(client: AdminClient) -> bool:
    with suppress(VaultRequestError):
        health = client.health()
        return not (health["sealed"] or health["standby"])
    return False


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    return process.poll() is not None


def _until(true: Any, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise VaultUnreachableError(f"the scratch server took too long {what}")
        time.sleep(_PAUSE)
