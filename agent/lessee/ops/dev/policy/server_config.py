"""The configuration of the server for development, and the policy of its token."""

import json
from typing import Any

SOCKET, DATA, SEAL_KEY = "api.sock", "data", "seal.key"
CA, CERTIFICATE, CERTIFICATE_KEY = "ca.pem", "server.pem", "server-key.pem"
ADMIN = "lessee-dev-admin"
"""The policy of the token in the folder."""

_EVERYTHING = ("create", "read", "update", "patch", "delete", "list", "sudo")
_NEVER = (
    "sys/seal",
    "sys/step-down",
    "sys/raw",
    "sys/raw/*",
    "sys/generate-root/*",
    "sys/rekey/*",
    "sys/rotate/root/*",
)


def server_config(folder: str, port: int, *, closed: bool, listen: str = "") -> str:
    """The server's configuration as JSON: https://openbao.org/docs/configuration/.

    lessee uses the Unix socket, which only this user can open. Raft, the only storage on disk since OpenBao 2.7, needs
    a TCP listener too. A `closed` one accepts no client: it wants a certificate that no client has. So no other
    local user can initialize the server first. `listen`: an address besides loopback, where containers reach it; a
    closed one has none.
    """
    tcp: dict[str, Any] = {
        "address": f"127.0.0.1:{0 if closed else port}",
        "cluster_address": "127.0.0.1:0",
        "tls_cert_file": f"{folder}/{CERTIFICATE}",
        "tls_key_file": f"{folder}/{CERTIFICATE_KEY}",
    }
    if closed:
        tcp |= {"tls_require_and_verify_client_cert": True, "tls_client_ca_file": f"{folder}/{CA}"}
    host = f"[{listen}]" if ":" in listen else listen
    others = [{"tcp": tcp | {"address": f"{host}:{port}"}}] if listen and not closed else []
    unix = {
        "address": f"{folder}/{SOCKET}",
        # The recovery key in the folder makes a root token for a moment, where the folder's token is lost or ended.
        "disable_unauthed_generate_root_endpoints": False,
    }
    config = {
        "ui": False,
        "api_addr": f"https://127.0.0.1:{port}",
        # Required, not the same, and of no use to a server without peers.
        "cluster_addr": f"https://127.0.0.2:{port}",
        "listener": [{"unix": unix}, {"tcp": tcp}, *others],
        "storage": {"raft": {"path": f"{folder}/{DATA}", "node_id": "dev", "performance_multiplier": "1"}},
        "seal": {"static": {"current_key_id": "dev", "current_key": f"file://{folder}/{SEAL_KEY}"}},
    }
    return json.dumps(config, indent=2) + "\n"


def accepts_clients(config: str) -> bool:
    """Whether this is the configuration of a server that is not closed."""
    try:
        listeners = json.loads(config)["listener"]
    except ValueError:
        return False
    return any(not one["tcp"].get("tls_require_and_verify_client_cert") for one in listeners if "tcp" in one)


def admin_policy() -> str:
    """The policy of the folder's token: what operators' commands do, and not what would close or rekey the server."""
    rules = [f'path "*" {{ capabilities = {json.dumps(_EVERYTHING)} }}']
    rules += [f'path "{path}" {{ capabilities = ["deny"] }}' for path in _NEVER]
    return "\n".join(rules) + "\n"
