"""The configuration of Vault Agent, which OpenBao's is too."""

from collections.abc import Mapping

from lessee.core.hcl import Block
from lessee.ops.migrate.policy.commands import Command
from lessee.ops.migrate.policy.findings import Report
from lessee.ops.migrate.policy.plan import Child, Plan
from lessee.ops.migrate.policy.sources.settings import Aside, Settings
from lessee.ops.migrate.policy.sources.template_blocks import Read, file_of, variable_of
from lessee.ops.migrate.policy.sources.vault_blocks import auth_of, vault_of

KEYS = frozenset({"auto_auth", "cache", "api_proxy", "listener", "template_config", "env_template", "exit_after_auth"})
"""Keys by which it is told from the configuration of consul-template."""


def plan(root: Block, source: str, report: Report, read: Read, *, of: str = "the configuration of Vault Agent") -> Plan:
    """What the file asks for; what lessee has no counterpart of is told."""
    made = Plan(of)
    top = Settings(root, "", source, report, made.notes)
    vault = top.block("vault")
    if vault is not None:
        vault_of(vault.keep_notes(made.vault_notes), made)
    auto = top.block("auto_auth")
    if auto is not None:
        _auto_auth(auto.keep_notes(made.vault_notes), made)
    made.files = [file for _, block in top.blocks("template") if (file := file_of(block, read)) is not None]
    for name, block in top.labelled("env_template"):
        variable = variable_of(name, block.keep_notes(made.notes), read)
        made.variables += [variable] if variable is not None else []
    made.child = _child(top)
    _template_config(top, made)
    if top.flag("exit_after_auth"):
        top.remark("exit_after_auth", "run `lessee render`, which ends when the files are there, not `lessee run`")
    top.close(_ASIDES)
    return made


def _auto_auth(auto: Settings, made: Plan) -> None:
    for kind, block in auto.labelled("method"):
        made.auth = auth_of((block.string("type") or kind).lower(), block, made)
    for kind, block in auto.labelled("sink"):
        config = block.block("config")
        path = config.string("path") if config is not None else ""
        what = f"lessee writes no token to {path or block.string('type') or kind or 'a sink'}: it keeps it to itself"
        auto.lose("sink", what, "let its reader log in by itself, or read the files that lessee renders")
    auto.close({})


def _child(top: Settings) -> Child | None:
    block = top.block("exec")
    if block is None:
        return None
    words = block.strings("command")
    restarts = (block.string("restart_on_secret_changes") or "always") == "always"
    if (block.string("restart_stop_signal") or "SIGTERM").removeprefix("SIG") != "TERM":
        block.lose("restart_stop_signal", "a child is stopped by SIGTERM", "let the program catch SIGTERM")
    block.close({})
    # 30 s is what Vault Agent waits before it kills.
    return Child(Command(words), "restart" if restarts else "", "30s", block.where()) if words else None


def _template_config(top: Settings, made: Plan) -> None:
    block = top.block("template_config")
    if block is not None:
        made.refresh = block.duration("static_secret_render_interval")
        block.close(_TEMPLATE_ASIDES)


_CACHE = "lessee is no proxy for other programs"
_CACHE_TODO = "let them ask Vault itself, or read the files that lessee renders"
_CONNECTIONS = Aside("lessee keeps few connections anyway", lost=False)
_ASIDES: Mapping[str, Aside] = {
    "api_proxy": Aside(_CACHE, _CACHE_TODO),
    "cache": Aside(_CACHE, _CACHE_TODO),
    "disable_idle_connections": _CONNECTIONS,
    "disable_keep_alives": _CONNECTIONS,
    "listener": Aside(_CACHE, _CACHE_TODO),
    "log_file": Aside("logs go to stderr", "let the container's engine, or systemd, keep them"),
    "log_format": Aside("it is `lessee run --log-format`", lost=False),
    "log_level": Aside("it is `lessee run --log-level`", lost=False),
    "log_rotate_bytes": Aside("logs go to stderr"),
    "log_rotate_duration": Aside("logs go to stderr"),
    "log_rotate_max_files": Aside("logs go to stderr"),
    "pid_file": Aside(
        "lessee writes none", "let what starts it know its process; `lessee refresh` tells it to look now"
    ),
    "telemetry": Aside(
        "metrics are served at /metrics, for Prometheus", "write status: {listen: 127.0.0.1:9105, token_file: F}"
    ),
}
_TEMPLATE_ASIDES: Mapping[str, Aside] = {
    "exit_on_retry_failure": Aside("the agent stays up, and tries again for ever", lost=False),
    "lease_renewal_threshold": Aside("a lease is renewed when 0.5 to 0.7 of it are over", lost=False),
    "max_connections_per_host": _CONNECTIONS,
}
