"""Annotations of the injectors of Vault and OpenBao, as the agent's configuration that they stand for."""

from collections.abc import Mapping, Sequence
from posixpath import dirname, join

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.hcl import Block, Item, Value
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.findings import Report
from lessee.ops.migrate.policy.plan import Plan
from lessee.ops.migrate.policy.sources import agent_config
from lessee.ops.migrate.policy.sources.annotations import ASIDES
from lessee.ops.migrate.policy.sources.manifests import Workload, workloads
from lessee.ops.migrate.policy.sources.settings import Settings
from lessee.ops.migrate.policy.sources.template_blocks import Read


def plans(text: str, source: str, report: Report, read: Read) -> Sequence[Plan]:
    """One for each workload that has annotations. Raises ConfigError for a manifest without any."""
    found = [_plan(workload, source, report, read) for workload in workloads(text, source)]
    if not found:
        what = "there is no workload with annotations of the injector"
        raise ConfigError([LesseeError(what, where=source, todo="name a manifest that has some")])
    return found


_VOLUME = "/vault/secrets"
_DEFAULT = '{{ with secret "%s" }}%s{{ end }}'
_MAP = "{{ range $k, $v := .Data%s }}{{ $k }}: {{ $v }}\n{{ end }}"
_JSON = "{{ .Data%s | toJSON }}\n"
_NAMED = ("agent-inject-secret-", "agent-inject-template-file-", "agent-inject-template-")
_VAULT = {
    "service": "address",
    "ca-cert": "ca_cert",
    "client-cert": "client_cert",
    "client-key": "client_key",
    "tls-server-name": "tls_server_name",
    "tls-skip-verify": "tls_skip_verify",
}


def _plan(workload: Workload, source: str, report: Report, read: Read) -> Plan:
    notes: list[str] = []
    said = Settings(workload.annotations, "", source, report, notes)
    items = [
        Item(("vault",), _block(said, _VAULT), said.line),
        Item(("auto_auth",), _auto_auth(said), said.line),
        Item(("template_config",), _block(said, {_INTERVAL: "static_secret_render_interval"}), said.line),
        *(_template(said, raw) for raw in _secrets(said)),
    ]
    volumes = {_VOLUME} | {said.string(name) for name in said.names() if name.startswith("secret-volume-path")}
    plan = agent_config.plan(Block(tuple(items), said.line), source, report, read, of="annotations of the injector")
    plan.name = workload.name
    plan.notes += notes
    plan.own_directories = frozenset(volume.rstrip("/") for volume in volumes if dirname(volume.rstrip("/")) != "/")
    plan.on_stop = "revoke" if said.flag("agent-revoke-on-shutdown") else ""
    if not said.flag("agent-inject"):
        said.remark("agent-inject", "it is not true, so the injector does nothing for this workload")
    report.remark(
        said.where(),
        f"{workload.kind or 'workload'} {workload.name}: nothing injects lessee: it is a container of the pod's spec",
        "mount an emptyDir of `medium: Memory` in both, one folder above the files' (at /vault for /vault/secrets),"
        " where lessee makes it; with `shareProcessNamespace: true` it can signal the app",
    )
    for name in said.names():
        if name.startswith("agent-telemetry-"):
            said.lose(
                name,
                "metrics are served at /metrics, for Prometheus",
                "write status: {listen: 127.0.0.1:9105, token_file: F}",
            )
    said.close(ASIDES)
    return plan


def _secrets(said: Settings) -> Sequence[str]:
    """What tells one secret's annotations from another's, in order."""
    found: dict[str, None] = {}
    for name in said.names():
        prefix = next((prefix for prefix in _NAMED if name.startswith(prefix)), None)
        if prefix is not None and said.string(name).strip() and name != prefix:
            found[name.removeprefix(prefix)] = None
    return tuple(found)


def _block(said: Settings, keys: Mapping[str, str]) -> Block:
    """Annotations as keys of the agent's configuration."""
    texts = ((said.text(theirs), said.line_of(theirs), ours) for theirs, ours in keys.items())
    return Block(tuple(Item((ours,), text, line) for text, line, ours in texts if text is not None), said.line)


def _auto_auth(said: Settings) -> Block:
    prefix = "auth-config-"
    config = {name: name.removeprefix(prefix).replace("-", "_") for name in said.names() if name.startswith(prefix)}
    method = _block(said, {"auth-type": "type", "auth-path": "mount_path", "namespace": "namespace"})
    kind = () if said.string("auth-type") else (Item(("type",), _made("kubernetes", said), said.line),)
    inner = Item(("config",), _block(said, {**config, "role": "role"}), said.line)
    return Block((Item(("method",), Block((*kind, *method.items, inner), said.line), said.line),), said.line)


def _template(said: Settings, raw: str) -> Item:
    keep_case = said.flag(f"preserve-secret-case-{raw}") or said.flag("preserve-secret-case")
    volume = said.string(f"secret-volume-path-{raw}") or said.string("secret-volume-path") or _VOLUME
    file = said.string(f"agent-inject-file-{raw}") or (raw if keep_case else raw.lower())
    destination = _made(join(volume, file.lstrip("/")), said)
    block = _block(
        said,
        {
            f"agent-template-left-delim-{raw}": "left_delimiter",
            f"agent-template-right-delim-{raw}": "right_delimiter",
            f"agent-inject-command-{raw}": "command",
            f"agent-inject-perms-{raw}": "perms",
            f"error-on-missing-key-{raw}": "error_on_missing_key",
        },
    )
    line = said.line_of(f"agent-inject-secret-{raw}")
    items = (*block.items, *_contents(said, raw), Item(("destination",), destination, line))
    return Item(("template",), Block(items, line), line)


def _contents(said: Settings, raw: str) -> Sequence[Item]:
    path = said.text(f"agent-inject-secret-{raw}")
    given = said.text(f"agent-inject-template-{raw}")
    file = said.text(f"agent-inject-template-file-{raw}")
    line = said.line_of(f"agent-inject-secret-{raw}")
    if given is not None or file is not None:
        return [Item(("contents",) if given is not None else ("source",), given or file, line)]
    assert path is not None  # Or there would be nothing to name the secret by.
    as_json = said.string("agent-inject-default-template").lower() == "json"
    inside = ".data" if "/data/" in path.value else ""
    if inside:
        was = "as JSON, with its metadata" if as_json else "as map[…]"
        todo = "write a template of your own, if another form is wanted"
        said.lose(f"agent-inject-secret-{raw}", f"the default template writes KV version 2 {was}; now its fields", todo)
    text = _DEFAULT % (path.value, (_JSON if as_json else _MAP) % inside)
    return [Item(("contents",), Text(text, path.source, path.line, several=False), line)]


def _made(text: str, said: Settings) -> Value:
    return Text(text, said.source, said.line, several=False)


_INTERVAL = "template-static-secret-render-interval"
