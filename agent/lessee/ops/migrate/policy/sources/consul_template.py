"""Reads the configuration of consul-template, except for Consul and Nomad."""

from collections.abc import Mapping
from typing import Final

from lessee.config.yaml_writer import Entry, Keys
from lessee.core.hcl import Block
from lessee.ops.migrate.policy.commands import Command
from lessee.ops.migrate.policy.findings import Report
from lessee.ops.migrate.policy.imported_config import Child, ImportedConfig
from lessee.ops.migrate.policy.sources.settings import Settings, UnusedKey
from lessee.ops.migrate.policy.sources.template_blocks import TemplateLoader, file_of


def read(root: Block, source: str, report: Report, load_template: TemplateLoader) -> ImportedConfig:
    """Read a configuration; the report gets everything that lessee has no counterpart of."""
    config = ImportedConfig("the configuration of consul-template")
    top = Settings(root, "", source, report, config.comments)
    vault = top.block("vault")
    if vault is not None:
        _vault(vault.with_comments(config.vault_comments), config)
    delimiters = top.block("default_delimiters")
    left, right = (delimiters.string("left"), delimiters.string("right")) if delimiters is not None else ("", "")
    for _, block in top.blocks("template"):
        file = file_of(block, load_template, (left, right))
        config.files += [file] if file is not None else []
    config.child = _child(top)
    top.report_unused(_UNUSED_KEYS)
    return config


def _vault(block: Settings, config: ImportedConfig) -> None:
    for key in ("address", "namespace"):
        if text := block.string(key):
            config.vault.append((key, text.removesuffix("/")))
    ssl = block.block("ssl")
    if ssl is not None:
        _ssl(ssl, config)
    config.auth = _auth(block)
    config.refresh_interval = block.duration("default_lease_duration")
    if block.string("token"):
        todo = "set $VAULT_TOKEN, or write the token to a file and set vault.auth.token_file"
        block.add_loss("token", "the import does not copy a token from the configuration", todo)
    if block.flag("unwrap_token"):
        todo = "unwrap it, or log in by approle with wrapped: true"
        block.add_loss("unwrap_token", "lessee does not accept a wrapped token", todo)
    block.value("unwrap_token")
    block.report_unused(_UNUSED_VAULT_KEYS)


def _ssl(ssl: Settings, config: ImportedConfig) -> None:
    for key, lessee_key in _SSL_KEYS.items():
        if text := ssl.string(key):
            config.vault.append((lessee_key, text))
    if not ssl.flag("verify", default=True):
        config.vault.append(("tls_skip_verify", True))
    ssl.value("enabled")
    ssl.report_unused(_UNUSED_SSL_KEYS)


def _auth(block: Settings) -> Keys | None:
    if token_file := block.string("vault_agent_token_file"):
        return Keys((("method", "token"), ("token_file", token_file)))
    role = block.string("k8s_auth_role_name")
    if not role:
        return None
    entries: list[Entry] = [("method", "kubernetes"), ("role", role)]
    if jwt_file := block.string("k8s_service_account_token_path"):
        entries.append(("jwt_file", jwt_file))
    if (mount := block.string("k8s_service_mount_path").removeprefix("auth/").strip("/")) not in {"", "kubernetes"}:
        entries.append(("mount", mount))
    return Keys(tuple(entries))


def _child(top: Settings) -> Child | None:
    block = top.block("exec")
    if block is None:
        return None
    words = block.strings("command")
    action = block.signal("reload_signal") or "restart"
    stop = block.signal("kill_signal")
    grace = block.duration("kill_timeout") or _DEFAULT_GRACE_PERIOD
    is_enabled = block.flag("enabled", default=True)
    block.report_unused(_UNUSED_EXEC_KEYS)
    return Child(Command(words), action, grace, block.where(), stop) if words and is_enabled else None


_DEFAULT_GRACE_PERIOD: Final = "30s"
"""consul-template kills the child after this time."""

_SSL_KEYS = {
    "ca_cert": "ca_file",
    "server_name": "tls_server_name",
    "cert": "client_cert_file",
    "key": "client_key_file",
}
_CONSUL = UnusedKey("lessee reads only Vault; each function of Consul and Nomad is reported", is_loss=False)
_LOGS = UnusedKey("lessee logs to stderr", "let the container engine or systemd store the logs")
_UNUSED_KEYS: Mapping[str, UnusedKey] = {
    "block_query_wait": _CONSUL,
    "consul": _CONSUL,
    "deduplicate": UnusedKey("within an agent, one read serves all templates", is_loss=False),
    "err_on_failed_lookup": UnusedKey("a missing secret is always an error", is_loss=False),
    "kill_signal": UnusedKey("SIGTERM stops lessee", is_loss=False),
    "log_file": _LOGS,
    "log_level": UnusedKey("use `lessee run --log-level`", is_loss=False),
    "max_stale": _CONSUL,
    "nomad": _CONSUL,
    "once": UnusedKey(
        "run `lessee render`, which exits when the files are written, instead of `lessee run`", is_loss=False
    ),
    "pid_file": UnusedKey(
        "lessee writes no PID file",
        "let its supervisor signal it; `lessee refresh` makes it read secrets now",
        is_loss=False,
    ),
    "reload_signal": UnusedKey("lessee reloads changed files automatically, and at SIGHUP", is_loss=False),
    "syslog": _LOGS,
    "template_error_fatal": UnusedKey("an error in a template does not change the existing files", is_loss=False),
    "wait": UnusedKey("not needed: lessee publishes all files of an app in one step", is_loss=False),
}
_UNUSED_VAULT_KEYS: Mapping[str, UnusedKey] = {
    "client_user_agent": UnusedKey("lessee sets its own User-Agent", is_loss=False),
    "enabled": UnusedKey("lessee always uses Vault", is_loss=False),
    "k8s_service_account_token": UnusedKey(
        "the import does not copy a JWT from the configuration", "set vault.auth.jwt_file"
    ),
    "lease_renewal_threshold": UnusedKey("lessee renews a lease after 0.5 to 0.7 of its TTL", is_loss=False),
    "renew_token": UnusedKey("lessee always renews its token", is_loss=False),
    "retry": UnusedKey("lessee retries forever, with its own backoff of up to 60 s", is_loss=False),
    "transport": UnusedKey("not needed: lessee uses few connections", is_loss=False),
}
_UNUSED_SSL_KEYS: Mapping[str, UnusedKey] = {
    "ca_cert_bytes": UnusedKey("the import does not copy certificates", "write it to a file, and set vault.ca_file"),
    "ca_path": UnusedKey("lessee does not read a directory of CAs", "put them into one file, and set vault.ca_file"),
}
_UNUSED_EXEC_KEYS: Mapping[str, UnusedKey] = {
    "env": UnusedKey(
        "the child gets the agent's environment without VAULT_*, BAO_* and LESSEE_*",
        "write an `env_template` for it",
    ),
    "splay": UnusedKey("lessee notifies a child immediately"),
    "timeout": UnusedKey("lessee has no timeout for a child", is_loss=False),
}
