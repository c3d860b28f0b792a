"""The apps of an adopted project as labels of its services, in place of entries in lessee.yaml."""

import json
import re
from collections.abc import Iterator, Mapping

from lessee.config.label_writer import labels_of
from lessee.config.yaml_writer import Entry, Keys
from lessee.ops.adopt.policy.config_text import app_entries
from lessee.ops.adopt.policy.model import AppPlan, Plan
from lessee.ops.adopt.policy.template_texts import files

_BLOCK = re.compile(r"[^ \n][^\n]*\n(?:[^\n]+\n)*")
"""Lines that a literal block of YAML has as they are."""


def service_labels(plan: Plan, app: AppPlan) -> Mapping[str, str]:
    """The labels of the app's service, as a Compose file has them: `$` is `$$`. Its templates are among them."""
    service = plan.project.services[app.service]
    entry = _plain(Keys(tuple(app_entries(plan, app, service))))
    assert isinstance(entry, dict)
    texts = [{"contents": file.text, "name": file.name, "format": file.format} for file in files(app, service)]
    return labels_of(app.service, entry | {"files": texts})


def label_lines(labels: Mapping[str, str]) -> Iterator[str]:
    """The lines of the key `labels` of a service."""
    yield "    labels:"
    for name, text in labels.items():
        if _BLOCK.fullmatch(text) and text.replace("\n", "").isprintable():
            yield f"      {_quoted(name)}: |"
            yield from (f"        {line}" for line in text.splitlines())
        else:
            yield f"      {_quoted(name)}: {_quoted(text)}"


def compose_model(plan: Plan) -> str:
    """What the agent reads of the project: the labels of its services, as `docker compose config` prints them."""
    services = {app.service: {"labels": dict(service_labels(plan, app))} for app in plan.apps}
    return json.dumps({"name": plan.project.name, "services": services}, indent=2) + "\n"


def _plain(value: object) -> object:
    """The value without comments."""
    match value:
        case Keys(entries):
            return {entry[0]: _plain(entry[1]) for entry in entries if _is_pair(entry)}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _is_pair(entry: Entry) -> bool:
    return not isinstance(entry, str)


_PLAIN = re.compile(r"[a-z][A-Za-z0-9_.]*|/[A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def _quoted(text: str) -> str:
    """A string of YAML; `$$` is in it already."""
    if _PLAIN.fullmatch(text) and text not in _WORDS:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"' + "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in escaped) + '"'
    )
