"""Reads the annotations of the injectors of Vault and OpenBao, as the equivalent configuration of Vault Agent."""

from collections.abc import Mapping, Sequence
from posixpath import dirname, join

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.hcl import Block, Item, Value
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.findings import Report
from lessee.ops.migrate.policy.imported_config import ImportedConfig
from lessee.ops.migrate.policy.sources import agent_config
from lessee.ops.migrate.policy.sources.annotations import UNUSED_ANNOTATIONS
from lessee.ops.migrate.policy.sources.manifests import Workload, find_workloads
from lessee.ops.migrate.policy.sources.settings import Settings
from lessee.ops.migrate.policy.sources.template_blocks import TemplateLoader


def read(text: str, source: str, report: Report, load_template: TemplateLoader) -> Sequence[ImportedConfig]:
    """Read each workload with annotations. Raises ConfigError for a manifest without such a workload."""
    configs = [_read_workload(workload, source, report, load_template) for workload in find_workloads(text, source)]
    if not configs:
        what = "the manifest has no workload with annotations of the injector"
        raise ConfigError([LesseeError(what, where=source, todo="pass a manifest with such annotations")])
    return configs


_VOLUME = "/vault/secrets"
_DEFAULT_TEMPLATE = '{{ with secret "%s" }}%s{{ end }}'
_DEFAULT_MAP = "{{ range $k, $v := .Data%s }}{{ $k }}: {{ $v }}\n{{ end }}"
_DEFAULT_JSON = "{{ .Data%s | toJSON }}\n"
_INTERVAL = "template-static-secret-render-interval"
_SECRET_PREFIXES = ("agent-inject-secret-", "agent-inject-template-file-", "agent-inject-template-")
_VAULT_KEYS = {
    "service": "address",
    "ca-cert": "ca_cert",
    "client-cert": "client_cert",
    "client-key": "client_key",
    "tls-server-name": "tls_server_name",
    "tls-skip-verify": "tls_skip_verify",
}


def _read_workload(workload: Workload, source: str, report: Report, load_template: TemplateLoader) -> ImportedConfig:
    comments: list[str] = []
    annotations = Settings(workload.annotations, "", source, report, comments)
    line = annotations.line
    items = [
        Item(("vault",), _block(annotations, _VAULT_KEYS), line),
        Item(("auto_auth",), _auto_auth(annotations), line),
        Item(("template_config",), _block(annotations, {_INTERVAL: "static_secret_render_interval"}), line),
        *(_template(annotations, name) for name in _secret_names(annotations)),
    ]
    volume_keys = (name for name in annotations.names() if name.startswith("secret-volume-path"))
    volumes = [volume.rstrip("/") for volume in {_VOLUME, *map(annotations.string, volume_keys)}]
    kind = "annotations of the injector"
    config = agent_config.read(Block(tuple(items), line), source, report, load_template, kind=kind)
    config.name = workload.name
    config.comments += comments
    config.exclusive_directories = frozenset(volume for volume in volumes if dirname(volume) != "/")
    config.on_stop = "revoke" if annotations.flag("agent-revoke-on-shutdown") else ""
    if not annotations.flag("agent-inject"):
        annotations.add_note("agent-inject", "it is not true, so the injector ignores this workload")
    report.add_note(
        annotations.where(),
        f"{workload.kind or 'workload'} {workload.name}: no injector adds lessee; add its container to the pod's spec",
        "mount an emptyDir with `medium: Memory` in both containers, at the parent of the files' directory (/vault for"
        " /vault/secrets), which lessee creates; with `shareProcessNamespace: true`, it can signal the app",
    )
    for name in annotations.names():
        if name.startswith("agent-telemetry-"):
            todo = "write status: {listen: 127.0.0.1:9105, token_file: F}"
            annotations.add_loss(name, "lessee serves metrics for Prometheus at /metrics", todo)
    annotations.report_unused(UNUSED_ANNOTATIONS)
    return config


def _secret_names(annotations: Settings) -> Sequence[str]:
    """The names by which annotations refer to secrets, in order."""
    names: dict[str, None] = {}
    for key in annotations.names():
        prefix = next((prefix for prefix in _SECRET_PREFIXES if key.startswith(prefix)), None)
        if prefix is not None and annotations.string(key).strip() and key != prefix:
            names[key.removeprefix(prefix)] = None
    return tuple(names)


def _block(annotations: Settings, keys: Mapping[str, str]) -> Block:
    """Annotations as a block of the agent's configuration. `keys`: the agent's key for each annotation."""
    texts = ((annotations.text(name), annotations.line_of(name), key) for name, key in keys.items())
    return Block(tuple(Item((key,), text, line) for text, line, key in texts if text is not None), annotations.line)


def _auto_auth(annotations: Settings) -> Block:
    prefix, line = "auth-config-", annotations.line
    config = {
        name: name.removeprefix(prefix).replace("-", "_") for name in annotations.names() if name.startswith(prefix)
    }
    method = _block(annotations, {"auth-type": "type", "auth-path": "mount_path", "namespace": "namespace"})
    default = () if annotations.string("auth-type") else (Item(("type",), _text("kubernetes", annotations), line),)
    inner = Item(("config",), _block(annotations, {**config, "role": "role"}), line)
    return Block((Item(("method",), Block((*default, *method.items, inner), line), line),), line)


def _template(annotations: Settings, name: str) -> Item:
    keeps_case = annotations.flag(f"preserve-secret-case-{name}") or annotations.flag("preserve-secret-case")
    volume = annotations.string(f"secret-volume-path-{name}") or annotations.string("secret-volume-path") or _VOLUME
    file = annotations.string(f"agent-inject-file-{name}") or (name if keeps_case else name.lower())
    destination = _text(join(volume, file.lstrip("/")), annotations)
    block = _block(
        annotations,
        {
            f"agent-template-left-delim-{name}": "left_delimiter",
            f"agent-template-right-delim-{name}": "right_delimiter",
            f"agent-inject-command-{name}": "command",
            f"agent-inject-perms-{name}": "perms",
            f"error-on-missing-key-{name}": "error_on_missing_key",
        },
    )
    line = annotations.line_of(f"agent-inject-secret-{name}")
    items = (*block.items, *_contents(annotations, name), Item(("destination",), destination, line))
    return Item(("template",), Block(items, line), line)


def _contents(annotations: Settings, name: str) -> Sequence[Item]:
    path = annotations.text(f"agent-inject-secret-{name}")
    template = annotations.text(f"agent-inject-template-{name}")
    file = annotations.text(f"agent-inject-template-file-{name}")
    line = annotations.line_of(f"agent-inject-secret-{name}")
    if template is not None or file is not None:
        return [Item(("contents",) if template is not None else ("source",), template or file, line)]
    assert path is not None  # The name is that of one of the three annotations.
    as_json = annotations.string("agent-inject-default-template").lower() == "json"
    data = ".data" if "/data/" in path.value else ""
    if data:
        old = "JSON with metadata" if as_json else "map[…]"
        what = f"the default template writes a KV version 2 secret as {old}; the import writes its fields"
        annotations.add_loss(f"agent-inject-secret-{name}", what, "write your own template if you need another format")
    text = _DEFAULT_TEMPLATE % (path.value, (_DEFAULT_JSON if as_json else _DEFAULT_MAP) % data)
    return [Item(("contents",), Text(text, path.source, path.line, is_multiline=False), line)]


def _text(text: str, annotations: Settings) -> Value:
    return Text(text, annotations.source, annotations.line, is_multiline=False)
