"""A private server that holds what an archive does, for as long as it is looked at."""

import ctypes
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from lessee.core.errors import LesseeError, Refused, VaultUnreachable
from lessee.host.openbao import find_bao, free_port
from lessee.vault.door import Address, Door, RequestFailed
from lessee.vault.operator import Operator

_MEMORY = Path("/dev/shm")  # noqa: S108  # A folder of our own is made in it.
_PATIENCE = 30.0
_PAUSE = 0.05
_PR_SET_PDEATHSIG = 1
_CONFIG = """
ui            = false
api_addr      = "http://127.0.0.1:{port}"
cluster_addr  = "http://127.0.0.1:{cluster_port}"
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable     = true
  disable_unauthed_generate_root_endpoints = false
}}
storage "{storage}" {{
{settings}
}}
"""
_RAFT = '  path                   = "{folder}/data"\n  node_id = "scratch"\n  performance_multiplier = 1'
_libc = ctypes.CDLL(None)


@contextmanager
def scratch(*, raft: bool = False) -> Iterator[Operator]:
    """One who may do all in an empty server on loopback, whose token nobody else ever sees.

    Its folder is ours alone, on tmpfs where there is one. It ends with this process, however that ends. Raises
    LesseeError where there is no `bao`.
    """
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="lessee-verify-", dir=place, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "data").mkdir()
        process, url = _start(folder, raft=raft)
        try:
            with closing(Door(Address(url))) as door:
                yield Operator(door, _initialise(door, process, folder / "log"))
        finally:
            process.kill()
            process.wait()


def _start(folder: Path, *, raft: bool) -> tuple["subprocess.Popen[bytes]", str]:
    port, cluster_port = free_port(), free_port()
    config = _CONFIG.format(
        port=port,
        cluster_port=cluster_port,
        storage="raft" if raft else "inmem",
        settings=_RAFT.format(folder=folder) if raft else "",
    )
    (folder / "scratch.hcl").write_text(config, encoding="utf-8")
    environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "BAO_RAFT_AUTOPILOT_DISABLE": "true"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [find_bao(), "server", f"-config={folder / 'scratch.hcl'}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  # It makes one system call.
        )
    return process, f"http://127.0.0.1:{port}"


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _initialise(door: Door, process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Its root token. Only the server that we started says that it did: another on its port would let it end."""
    _until(lambda: b"server started!" in log.read_bytes() or _has_ended(process), "to start")
    if _has_ended(process):
        raise LesseeError("the scratch server did not start", todo="free a port of loopback, and try again")
    said = plain(door, "PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
    unseal(door, said["keys"])
    return str(said["root_token"])


def unseal(door: Door, keys: list[str]) -> None:
    """Raises Refused where the keys are not its own."""
    _until(lambda: plain(door, "GET", "sys/seal-status").get("sealed") is not None, "to answer")
    for key in keys:
        said = plain(door, "PUT", "sys/unseal", {"key": key})
    if said.get("sealed"):
        raise Refused("the scratch server stays sealed", todo="give as many unseal keys as its threshold says")
    _until(lambda: _is_active(door), "to be active")


def plain(door: Door, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """An answer whose fields do not stand in `data`; {} where there is none. Raises Refused."""
    content = msgspec.json.encode(body) if body is not None else b""
    sent = iter([content]) if body is not None else None
    try:
        with door.stream(method, path, token=None, body=sent, size=len(content)) as answer:
            return dict(msgspec.json.decode(answer.read() or b"{}", type=dict[str, Any]))
    except RequestFailed as exc:
        if method == "GET":
            return {}
        raise Refused(exc.failure.text, where=path) from None


def _is_active(door: Door) -> bool:
    with suppress(RequestFailed), door.stream("GET", "sys/health", token=None):
        return True
    return False


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    return process.poll() is not None


def _until(true: Any, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise VaultUnreachable(f"the scratch server took too long {what}")
        time.sleep(_PAUSE)
