"""The baseline: the findings that a person has accepted, in a file that is committed with the project."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.scan.policy.findings import Finding

FILE = ".lessee-scan.json"
"""Its usual name, in the scanned directory."""
MAX_BYTES = 16 * 2**20


class Accepted(ImmutableStruct, frozen=True):
    """An accepted finding. `note`: why, for the next reader."""

    fingerprint: str
    file: str = ""
    rule: str = ""
    note: str = ""


class Baseline(ImmutableStruct, frozen=True):
    """The accepted findings, and the random salt of their fingerprints."""

    salt: bytes
    accepted: Mapping[str, Accepted] = {}

    def new(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """The findings that are not accepted."""
        return tuple(finding for finding in findings if finding.fingerprint not in self.accepted)

    def stale(self, findings: Iterable[Finding]) -> tuple[Accepted, ...]:
        """What is accepted, but is not found any more."""
        found = {finding.fingerprint for finding in findings}
        return tuple(item for item in self.accepted.values() if item.fingerprint not in found)

    def updated(self, findings: Iterable[Finding], *, is_whole: bool) -> "Baseline":
        """The same salt with these findings, and the notes of those that it had. `is_whole`: without any others."""
        accepted = {} if is_whole else dict(self.accepted)
        for finding in findings:
            note = self.accepted[finding.fingerprint].note if finding.fingerprint in self.accepted else ""
            accepted[finding.fingerprint] = Accepted(finding.fingerprint, finding.file, finding.rule, note)
        return Baseline(self.salt, accepted)


def parse(text: str, where: str) -> Baseline:
    """Raises ConfigError."""
    try:
        document = json.loads(text)
        salt = bytes.fromhex(document["salt"])
        accepted = [_accepted(item) for item in document["accepted"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _invalid(where, "it is not a baseline of `lessee scan`") from None
    if document.get("version") != _VERSION:
        raise _invalid(where, "its version is not 1")
    if len(salt) < _SALT_BYTES:
        raise _invalid(where, f"its salt has fewer than {_SALT_BYTES} bytes")
    return Baseline(salt, {item.fingerprint: item for item in accepted})


def text_of(baseline: Baseline) -> str:
    """The file: one line for each finding, in the order of files, so that a review sees what a change accepts."""
    items = sorted(baseline.accepted.values(), key=lambda item: (item.file, item.rule, item.fingerprint))
    lines = ",\n".join(f"    {json.dumps(_fields(item), ensure_ascii=False)}" for item in items)
    accepted = f"[\n{lines}\n  ]" if lines else "[]"
    return f'{{\n  "version": {_VERSION},\n  "salt": "{baseline.salt.hex()}",\n  "accepted": {accepted}\n}}\n'


def _accepted(item: Mapping[str, Any]) -> Accepted:
    fields = [item["fingerprint"], *(item.get(name, "") for name in ("file", "rule", "note"))]
    if not all(isinstance(field, str) for field in fields):
        raise TypeError
    return Accepted(*fields)


def _fields(item: Accepted) -> Mapping[str, str]:
    return {name: getattr(item, name) for name in item.__struct_fields__ if getattr(item, name)}


def _invalid(where: str, what: str) -> ConfigError:
    todo = "restore it from git, or delete it and run `lessee scan --accept`"
    return ConfigError([LesseeError(what, where=where, todo=todo)])


_VERSION = 1
_SALT_BYTES = 16
