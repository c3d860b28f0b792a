"""A plan as text: the fields before and after each step, without a secret's value."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import unified_diff
from typing import assert_never

from lessee.config.durations import spell
from lessee.ops.setup.policy.initial_values import describe
from lessee.ops.setup.policy.objects import Fields, Kind, Object, display_name
from lessee.ops.setup.policy.plan import (
    Add,
    Change,
    Conflict,
    Fill,
    Overwrite,
    Remove,
    ServerConfigRequired,
    Step,
    Unconfirmed,
)

_FORCE = "--force overwrites it"
# A manual change may contain a password, with any character in it. The text after it is cut off too.
_BEFORE_HOST = re.compile(r":(?!//)(?!\{\{password\}\}@).*@", re.DOTALL)
_AS_FIELD = re.compile(
    r"((?:pass(?:word|wd|phrase)?|pwd)(?:\s|%20)*=)(?!\{\{password\}\}).*", re.DOTALL | re.IGNORECASE
)


def step_lines(step: Step) -> Iterator[str]:
    """What a step changes, or why it is not taken."""
    match step:
        case Add(target):
            yield f"  + {target.kind} {target.name}"
            yield from _fields(target, {}, target.fields)
            if target.password is not None:
                yield f"      password: ({describe(target.password)})"
        case Change(target):
            yield f"  ~ {target.kind} {target.name}"
            yield from _changed(step)
        case Remove():
            yield f"  - {step.kind} {display_name(step.kind, step.path)}: no longer in the configuration"
        case Fill():
            yield f"  {'~' if step.version else '+'} secret {step.secret.name}"
            yield from (f"      {_printable(key)}: ({describe(source)})" for key, source in step.missing.items())
        case ServerConfigRequired(target):
            yield f"{target.kind} {target.name}: the server takes it only from its own configuration; add there:"
            yield from audit_stanza(target).splitlines()
        case Conflict(inner):
            yield from _held(inner)
        case Unconfirmed(inner):
            name = display_name(inner.kind, inner.path)
            yield f"  ! {inner.kind} {name}: not in this configuration, left in place; --yes removes it"
        case _:
            assert_never(step)


def count(steps: Iterable[Step]) -> str:
    """The number of steps of each sort."""
    sorts = Counter(_SORTS[type(step)] for step in steps)
    parts = [f"{sorts[sort]} {sort}" for sort in dict.fromkeys(_SORTS.values()) if sorts[sort]]
    return ", ".join(parts) or "nothing to do"


def audit_stanza(device: Object) -> str:
    """An audit device as a stanza of the server's configuration (OpenBao 2.4 and later)."""
    path = json.dumps(device.fields["file_path"])
    options = f"  options {{\n    file_path = {path}\n  }}\n"
    return f'audit "{device.fields["type"]}" "{device.name}" {{\n{options}}}\n'


_SORTS: Mapping[type, str] = {
    Add: "new",
    Change: "changed",
    Remove: "removed",
    Fill: "given first values",
    Conflict: "manually changed, left in place",
    Unconfirmed: "not in this configuration, left in place",
    ServerConfigRequired: "to add to the server's configuration",
}


def _held(step: Overwrite) -> Iterator[str]:
    match step:
        case Change(Object(kind=Kind.AUDIT) as target):
            yield f"  ! {target.kind} {target.name}: it writes to another file; setup never redirects an audit log"
            yield from _changed(step)
        case Change(target):
            yield f"  ! {target.kind} {target.name}: manually changed, left in place; {_FORCE}"
            yield from _changed(step)
        case Remove():
            name = display_name(step.kind, step.path)
            yield f"  ! {step.kind} {name}: no longer in the configuration, but manually changed, left in place"
        case Fill():
            yield f"  ! secret {step.secret.name}: its newest version is deleted; --force writes a new one"
        case _:
            assert_never(step)


def _changed(step: Change) -> Iterator[str]:
    yield from _fields(step.object, step.was, step.object.fields)
    if step.password and step.object.password is not None:
        yield f"      password: ({describe(step.object.password)})"


def _fields(target: Object, was: Fields, will: Fields) -> Iterator[str]:
    for key in sorted(will):
        before, after = was.get(key), will[key]
        if before == after:
            continue
        if target.kind is Kind.POLICY:
            yield from _differences(str(before or ""), str(after))
        elif key in was:
            yield f"      {key}: {_value(key, before)} → {_value(key, after)}"
        else:
            yield f"      {key}: {_value(key, after)}"


def _differences(before: str, after: str) -> Iterator[str]:
    if not before:
        yield from (f"      + {_printable(line)}" for line in after.splitlines())
        return
    for line in unified_diff(before.splitlines(), after.splitlines(), "is", "will be", lineterm=""):
        yield f"      {_printable(line)}"


def _value(key: str, value: object) -> str:
    if key.endswith("ttl") and isinstance(value, int):
        return spell(value)
    if key == "connection_url":
        value = _AS_FIELD.sub(r"\1…", _BEFORE_HOST.sub(":…@", str(value)))
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
