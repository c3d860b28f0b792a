"""The apps of an adopted project as labels of its services, in place of entries in lessee.yaml."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lessee.config.grammar.labels import PREFIX
from lessee.config.label_writer import labels_of
from lessee.config.yaml_writer import Entry, Keys
from lessee.core.inline_references import may_have_reference
from lessee.ops.adopt.policy.config_text import app_entries
from lessee.ops.adopt.policy.model import AppPlan, Plan
from lessee.ops.adopt.policy.template_texts import files
from lessee.ops.scan.policy.classifier import Verdict, classify
from lessee.ops.scan.policy.places import Kind, Place

_BLOCK = re.compile(r"[^ \n][^\n]*\n(?:[^\n]+\n)*")
"""Lines that a literal block of YAML has as they are."""
_ENV = f"{PREFIX}env"
_CONFIG = Place(Kind.CONFIG)


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
    return _text({app.service: {"labels": dict(service_labels(plan, app))} for app in plan.apps})


def reduced_model(model: Mapping[str, Any]) -> str:
    """The same of what `docker compose config --no-interpolate` prints, without any value of a secret.

    Of the variables, it has those that the agent renders: Compose may also print those of files and of its own.
    """
    services = {}
    for name, service in (model.get("services") or {}).items():
        labels = {key: text for key, text in _pairs(service.get("labels")) if key.startswith(PREFIX)}
        if labels:
            found = dict(_rendered(labels.get(_ENV), service.get("environment")))
            services[name] = {"labels": labels} | ({"environment": found} if found else {})
    return _text(services)


def _text(services: Mapping[str, object]) -> str:
    return json.dumps({"services": services}, indent=2, sort_keys=True) + "\n"


def _pairs(entries: object) -> Iterator[tuple[str, object]]:
    """The entries of a mapping, or of a list of `NAME=VALUE`."""
    if isinstance(entries, Mapping):
        yield from entries.items()
    elif isinstance(entries, list):
        yield from ((name, text) for name, equals, text in (str(one).partition("=") for one in entries) if equals)


def _rendered(setting: object, environment: object) -> Iterator[tuple[str, str]]:
    """The variables that the label `lessee.env` of this value has the agent render."""
    for name, value in _pairs(environment) if setting in {"true", "all"} else ():
        text = str(value)
        is_plain = setting == "all" and classify(name, text, _CONFIG).verdict is not Verdict.SECRET
        if value is not None and (is_plain or may_have_reference(text)):
            yield name, text


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
