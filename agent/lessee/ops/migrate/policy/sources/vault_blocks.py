"""How an agent reaches Vault and logs in, in lessee's words."""

from collections.abc import Mapping

from lessee.config.yaml_writer import Entry, Keys
from lessee.ops.migrate.policy.plan import Plan
from lessee.ops.migrate.policy.sources.settings import Aside, Settings


def vault_of(block: Settings, made: Plan) -> None:
    """The `vault` block of Vault Agent."""
    for theirs, ours in _VAULT.items():
        if text := block.string(theirs):
            made.vault.append((ours, text.removesuffix("/") if ours == "address" else text))
    if block.flag("tls_skip_verify"):
        made.vault.append(("insecure", True))
    block.close(_VAULT_ASIDES)


def auth_of(method: str, block: Settings, made: Plan) -> Keys | None:
    """A `method` block of `auto_auth`; None, and told, for what lessee cannot log in by."""
    config = block.block("config") or block
    mount = block.string("mount_path").removeprefix("auth/").strip("/")
    namespace = block.string("namespace").strip("/")
    if namespace and not _has(made, "namespace"):
        made.vault.append(("namespace", namespace))
    elif namespace and ("namespace", namespace) not in made.vault:
        block.lose("namespace", "login and secrets are in two namespaces, and lessee works in one")
    known = _METHODS.get(method)
    if known is None:
        block.lose("type", f"lessee does not log in by {method or 'nothing'}", "use approle, jwt, kubernetes or cert")
        return None
    entries: list[Entry] = [("method", "token" if method == "token_file" else method)]
    for theirs, ours in known.items():
        if text := config.string(theirs):
            entries.append((ours, text))
    if mount and method not in {mount, "token_file"}:
        entries.append(("mount", mount))
    entries += _more(method, config, made)
    missing = [ours for ours in _NEEDED[method] if not any(entry[0] == ours for entry in entries)]
    if missing:
        block.lose("type", f"{method} without {' and '.join(missing)} is no login", "write it under vault.auth")
    if config is not block:
        config.close(_CONFIG_ASIDES)
    block.close(_METHOD_ASIDES)
    return Keys(tuple(entries)) if not missing else None


def _more(method: str, config: Settings, made: Plan) -> list[Entry]:
    if method == "cert" and (ca_file := config.string("ca_cert")) and not _has(made, "ca_file"):
        made.vault.append(("ca_file", ca_file))
    if method == "jwt" and config.flag("remove_jwt_after_reading"):
        config.lose("remove_jwt_after_reading", "the file with the JWT stays", "let what writes it remove it")
    if method != "approle":
        return []
    more: list[Entry] = []
    if wrapped := config.string("secret_id_response_wrapping_path"):
        more += [("wrapped", True), ("wrapped_path", wrapped.strip("/"))]
    if config.string("secret_id_file_path") and config.flag("remove_secret_id_file_after_reading", default=True):
        more.append(("remove_secret_id_file_after_reading", True))
    return more


def _has(made: Plan, key: str) -> bool:
    return any(entry[0] == key for entry in made.vault)


_VAULT = {
    "address": "address",
    "namespace": "namespace",
    "ca_cert": "ca_file",
    "tls_server_name": "server_name",
    "client_cert": "client_cert_file",
    "client_key": "client_key_file",
}
_METHODS: Mapping[str, Mapping[str, str]] = {
    "approle": {"role_id_file_path": "role_id_file", "secret_id_file_path": "secret_id_file"},
    "cert": {"client_cert": "cert_file", "client_key": "key_file", "name": "role"},
    "jwt": {"path": "jwt_file", "role": "role"},
    "kubernetes": {"role": "role", "token_path": "jwt_file"},
    "token_file": {"token_file_path": "token_file"},
    "userpass": {"username": "username", "password_file_path": "password_file"},
}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "approle": ("role_id_file",),
    "cert": ("cert_file", "key_file"),
    "jwt": ("jwt_file",),
    "kubernetes": ("role",),
    "token_file": ("token_file",),
    "userpass": ("username", "password_file"),
}
_BACKOFF = Aside("lessee tries again for ever, with a backoff of its own up to 60 s", lost=False)
_VAULT_ASIDES: Mapping[str, Aside] = {
    "ca_path": Aside("a folder of CAs is not read", "put them into one file, and name it as vault.ca_file"),
    "retry": _BACKOFF,
}
_METHOD_ASIDES: Mapping[str, Aside] = {
    "exit_on_err": _BACKOFF,
    "max_backoff": _BACKOFF,
    "min_backoff": _BACKOFF,
    "wrap_ttl": Aside("lessee's token is nobody else's, so it is not wrapped"),
}
_READ = Aside("files are read anew at each login, and stay", lost=False)
_CONFIG_ASIDES: Mapping[str, Aside] = {
    "jwt_read_period": _READ,
    "reload": _READ,
    "remove_jwt_after_reading": _READ,
    "remove_jwt_follows_symlinks": _READ,
    "remove_secret_id_file_after_reading": _READ,
}
