"""Reads the configuration of Vault Agent, which OpenBao's agent shares."""

from collections.abc import Mapping

from lessee.core.hcl import Block
from lessee.ops.migrate.policy.commands import Command
from lessee.ops.migrate.policy.findings import Report
from lessee.ops.migrate.policy.imported_config import Child, ImportedConfig
from lessee.ops.migrate.policy.sources.settings import Settings, UnusedKey
from lessee.ops.migrate.policy.sources.template_blocks import TemplateLoader, file_of, variable_of
from lessee.ops.migrate.policy.sources.vault_blocks import read_auth, read_vault

_KEYS = frozenset(
    {"auto_auth", "cache", "api_proxy", "listener", "template_config", "env_template", "exit_after_auth", "telemetry"}
    | {"disable_idle_connections", "disable_keep_alives", "log_format"}
    | {"log_rotate_bytes", "log_rotate_duration", "log_rotate_max_files"}
)
_VAULT_KEYS = frozenset({"ca_cert", "ca_path", "client_cert", "client_key", "tls_server_name", "tls_skip_verify"})


def is_of_agent(root: Block) -> bool:
    """Whether the configuration has a key that one of consul-template does not have."""
    vaults = (item.value for item in root.items if item.keys == ("vault",) and isinstance(item.value, Block))
    inside = {item.keys[0] for vault in vaults for item in vault.items}
    return bool(inside & _VAULT_KEYS) or any(item.keys[0] in _KEYS for item in root.items)


def read(
    root: Block,
    source: str,
    report: Report,
    load_template: TemplateLoader,
    *,
    kind: str = "the configuration of Vault Agent",
) -> ImportedConfig:
    """Read a configuration; the report gets everything that lessee has no counterpart of."""
    config = ImportedConfig(kind)
    top = Settings(root, "", source, report, config.comments)
    vault = top.block("vault")
    if vault is not None:
        read_vault(vault.with_comments(config.vault_comments), config)
    auto_auth = top.block("auto_auth")
    if auto_auth is not None:
        _auto_auth(auto_auth.with_comments(config.vault_comments), config)
    config.files = [file for _, block in top.blocks("template") if (file := file_of(block, load_template)) is not None]
    for name, block in top.labeled("env_template"):
        variable = variable_of(name, block.with_comments(config.comments), load_template)
        config.variables += [variable] if variable is not None else []
    config.child = _child(top)
    _template_config(top, config)
    if top.flag("exit_after_auth"):
        what = "run `lessee render`, which exits when the files are written, instead of `lessee run`"
        top.add_note("exit_after_auth", what)
    top.report_unused(_UNUSED_KEYS)
    return config


def _auto_auth(auto_auth: Settings, config: ImportedConfig) -> None:
    for label, block in auto_auth.labeled("method"):
        config.auth = read_auth((block.string("type") or label).lower(), block, config)
    for label, block in auto_auth.labeled("sink"):
        sink_config = block.block("config")
        path = sink_config.string("path") if sink_config is not None else ""
        what = f"lessee does not write its token to {path or block.string('type') or label or 'a sink'}"
        auto_auth.add_loss("sink", what, "let its reader log in itself, or read files that lessee renders")
    auto_auth.report_unused(_UNUSED_AUTO_AUTH_KEYS)


def _child(top: Settings) -> Child | None:
    block = top.block("exec")
    if block is None:
        return None
    words = block.strings("command")
    restarts = (block.string("restart_on_secret_changes") or "always") == "always"
    stop = block.signal("restart_stop_signal")
    block.report_unused({})
    # Vault Agent kills the child after 30 s.
    return Child(Command(words), "restart" if restarts else "", "30s", block.where(), stop) if words else None


def _template_config(top: Settings, config: ImportedConfig) -> None:
    block = top.block("template_config")
    if block is not None:
        config.refresh_interval = block.duration("static_secret_render_interval")
        block.report_unused(_UNUSED_TEMPLATE_KEYS)


_UNUSED_AUTO_AUTH_KEYS: Mapping[str, UnusedKey] = {
    "enable_reauth_on_new_credentials": UnusedKey("lessee reads its credentials again at each login", is_loss=False),
}
_PROXY = UnusedKey(
    "lessee is not a proxy for other programs",
    "let them send their requests to Vault, or read files that lessee renders",
)
_CONNECTIONS = UnusedKey("not needed: lessee uses few connections", is_loss=False)
_LOG_FILE = "lessee logs to stderr"
_UNUSED_KEYS: Mapping[str, UnusedKey] = {
    "api_proxy": _PROXY,
    "cache": _PROXY,
    "disable_idle_connections": _CONNECTIONS,
    "disable_keep_alives": _CONNECTIONS,
    "listener": _PROXY,
    "log_file": UnusedKey(_LOG_FILE, "let the container engine or systemd store the logs"),
    "log_format": UnusedKey("use `lessee run --log-format`", is_loss=False),
    "log_level": UnusedKey("use `lessee run --log-level`", is_loss=False),
    "log_rotate_bytes": UnusedKey(_LOG_FILE),
    "log_rotate_duration": UnusedKey(_LOG_FILE),
    "log_rotate_max_files": UnusedKey(_LOG_FILE),
    "pid_file": UnusedKey(
        "lessee writes no PID file",
        "let its supervisor signal it; `lessee refresh` makes it read secrets now",
        is_loss=False,
    ),
    "telemetry": UnusedKey(
        "lessee serves metrics for Prometheus at /metrics", "write status: {listen: 127.0.0.1:9105, token_file: F}"
    ),
}
_UNUSED_TEMPLATE_KEYS: Mapping[str, UnusedKey] = {
    "exit_on_retry_failure": UnusedKey("the agent does not exit, and retries forever", is_loss=False),
    "lease_renewal_threshold": UnusedKey("lessee renews a lease after 0.5 to 0.7 of its TTL", is_loss=False),
    "max_connections_per_host": _CONNECTIONS,
}
