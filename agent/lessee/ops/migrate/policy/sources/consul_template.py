"""The configuration of consul-template, as far as it reads Vault."""

from collections.abc import Mapping
from typing import Final

from lessee.config.grammar.scalars import SIGNALS
from lessee.config.yaml_writer import Entry, Keys
from lessee.core.hcl import Block
from lessee.ops.migrate.policy.commands import Command
from lessee.ops.migrate.policy.findings import Report
from lessee.ops.migrate.policy.plan import Child, Plan
from lessee.ops.migrate.policy.sources.settings import Aside, Settings
from lessee.ops.migrate.policy.sources.template_blocks import Read, file_of


def plan(root: Block, source: str, report: Report, read: Read) -> Plan:
    """What the file asks for; what lessee has no counterpart of is told."""
    made = Plan("the configuration of consul-template")
    top = Settings(root, "", source, report, made.notes)
    vault = top.block("vault")
    if vault is not None:
        _vault(vault.keep_notes(made.vault_notes), made)
    delimiters = top.block("default_delimiters")
    left, right = (delimiters.string("left"), delimiters.string("right")) if delimiters is not None else ("", "")
    for _, block in top.blocks("template"):
        file = file_of(block, read, (left, right))
        made.files += [file] if file is not None else []
    made.child = _child(top)
    top.close(_ASIDES)
    return made


def _vault(block: Settings, made: Plan) -> None:
    for key in ("address", "namespace"):
        if text := block.string(key):
            made.vault.append((key, text.removesuffix("/")))
    ssl = block.block("ssl")
    if ssl is not None:
        _ssl(ssl, made)
    made.auth = _auth(block)
    made.refresh = block.duration("default_lease_duration")
    if block.string("token"):
        todo = "put it into $VAULT_TOKEN, or a file and name it as vault.auth.token_file"
        block.lose("token", "a token in the configuration is not carried over", todo)
    if block.flag("unwrap_token"):
        block.lose(
            "unwrap_token", "lessee takes no wrapped token", "unwrap it, or log in by approle with wrapped: true"
        )
    block.value("unwrap_token")
    block.close(_VAULT_ASIDES)


def _ssl(ssl: Settings, made: Plan) -> None:
    for theirs, ours in _SSL.items():
        if text := ssl.string(theirs):
            made.vault.append((ours, text))
    if not ssl.flag("verify", default=True):
        made.vault.append(("insecure", True))
    ssl.value("enabled")
    ssl.close(_SSL_ASIDES)


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
    reload = block.string("reload_signal")
    action = f"SIG{reload.removeprefix('SIG')}" if reload else "restart"
    if action not in {*SIGNALS, "restart"}:
        block.lose("reload_signal", f"{reload} is no signal of Linux", "write its name, as SIGHUP")
        action = "restart"
    if (kill := block.string("kill_signal")) and kill.removeprefix("SIG") != "TERM":
        block.lose("kill_signal", "a child is stopped by SIGTERM", "let the program catch SIGTERM")
    grace = block.duration("kill_timeout") or _GRACE
    enabled = block.flag("enabled", default=True)
    block.close(_EXEC_ASIDES)
    return Child(Command(words), action, grace, block.where()) if words and enabled else None


_GRACE: Final = "30s"
"""What consul-template waits before it kills."""

_SSL = {
    "ca_cert": "ca_file",
    "server_name": "server_name",
    "cert": "client_cert_file",
    "key": "client_key_file",
}
_CONSUL = Aside("lessee reads Vault alone", "put what templates read from there into KV secrets")
_LOGS = Aside("logs go to stderr", "let the container's engine, or systemd, keep them")
_ASIDES: Mapping[str, Aside] = {
    "block_query_wait": _CONSUL,
    "consul": _CONSUL,
    "deduplicate": Aside("each agent renders by itself; one read serves all templates of an agent"),
    "err_on_failed_lookup": Aside("a secret that is not there is always an error", lost=False),
    "kill_signal": Aside("SIGTERM ends lessee", lost=False),
    "log_file": _LOGS,
    "log_level": Aside("it is `lessee run --log-level`", lost=False),
    "max_stale": _CONSUL,
    "nomad": _CONSUL,
    "pid_file": Aside(
        "lessee writes none", "let what starts it know its process; `lessee refresh` tells it to look now"
    ),
    "reload_signal": Aside("lessee takes up edits by itself, and at SIGHUP", lost=False),
    "syslog": _LOGS,
    "template_error_fatal": Aside("a template's error leaves the old files in place", lost=False),
    "wait": Aside("there is nothing to wait for: all files of an app are published in one step", lost=False),
}
_VAULT_ASIDES: Mapping[str, Aside] = {
    "client_user_agent": Aside("lessee names itself", lost=False),
    "enabled": Aside("there is nothing but Vault", lost=False),
    "k8s_service_account_token": Aside("a JWT in the configuration is not carried over", "name its file"),
    "lease_renewal_threshold": Aside("a lease is renewed when 0.5 to 0.7 of it are over", lost=False),
    "renew_token": Aside("lessee renews its token", lost=False),
    "retry": Aside("lessee tries again for ever, with a backoff of its own up to 60 s", lost=False),
    "transport": Aside("lessee keeps few connections anyway", lost=False),
}
_SSL_ASIDES: Mapping[str, Aside] = {
    "ca_path": Aside("a folder of CAs is not read", "put them into one file, and name it as vault.ca_file"),
}
_EXEC_ASIDES: Mapping[str, Aside] = {
    "env": Aside(
        "the child gets the agent's environment without VAULT_*, BAO_* and LESSEE_*",
        "write an `environ` template for it",
    ),
    "splay": Aside("a child is told at once"),
    "timeout": Aside("a child may run as long as it likes", lost=False),
}
