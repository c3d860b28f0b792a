"""The findings of `lessee scan`: each has a fingerprint, a length and a place, and none of their texts has a value."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping

from lessee.core.immutable import ImmutableStruct
from lessee.ops.scan.policy.randomness import is_unguessable
from lessee.ops.scan.policy.search import Hit

RULES: Mapping[str, str] = {
    "vault-secret": "a value that Vault has",
    "private-key": "a private key",
    "known-key": "a key in a provider's format",
    "password-in-url": "a password in a URL",
    "authorization": "a password or token that a command or a request presents",
    "named-secret": "a value whose name is a secret's",
    "random-value": "a long random value",
    "plugin": "what a plugin of detect-secrets finds",
}
"""The rules by name, with what each finds. Names do not change between versions."""

SALT = b"lessee scan"
"""Without a baseline: fingerprints stay the same between runs, and equal for the same secret in two repositories."""


class Finding(ImmutableStruct, frozen=True):
    """A secret at a place. `line` is 1 or more; `commit` is empty for a file of the working tree."""

    rule: str
    fingerprint: str
    file: str
    line: int
    length: int
    name: str = ""
    detail: str = ""
    commit: str = ""
    vault: str = ""
    """The field in Vault that has the value, such as `secret/production/database/postgres: password`."""

    @property
    def message(self) -> str:
        """What was found, without its place."""
        what = self.detail or RULES[self.rule]
        name = f"{self.name}: " if self.name else ""
        known = f", which is {self.vault} in Vault" if self.vault else ""
        return f"{name}{what}{known} ({self.length} characters, fingerprint {self.fingerprint})"

    @property
    def help(self) -> str:
        """What to do about it."""
        how = "let the app read it from a rendered file" if self.vault else "move it into Vault"
        how = f"{how}, and rotate it"
        return f"{how}: the git history keeps the old value" if self.commit else how


def fingerprint(salt: bytes, hit: Hit, file: str, number: int) -> str:
    """Identifies a finding: equal in each run, and no help to guess the value.

    A value that cannot be guessed is part of it, so that another value at the same place is another finding. A value
    that may be guessed is not: with the salt, which a repository shares, each guess could be confirmed. It is then
    the `number`th (from 0) of its name and rule in the file.
    """
    identity = hit.value if hit.has_format or is_unguessable(hit.value) else f"{hit.name}\0{number}"
    text = f"{hit.rule}\0{file}\0{identity}"
    return hmac.digest(salt, text.encode(errors="surrogatepass"), hashlib.sha256).hex()[:_DIGITS]


def findings_of(
    hits: Iterable[Hit], file: str, salt: bytes, known: Mapping[str, str], commit: str = ""
) -> tuple[Finding, ...]:
    """The findings of a file. `known`: the fields in Vault by their values."""
    numbers: Counter[tuple[str, str]] = Counter()
    found = []
    for hit in hits:
        number = numbers[hit.rule, hit.name]
        numbers[hit.rule, hit.name] += 1
        print_of = fingerprint(salt, hit, file, number)
        found.append(
            Finding(
                hit.rule,
                print_of,
                file,
                hit.line,
                len(hit.value),
                hit.name,
                hit.detail,
                commit,
                known.get(hit.value, ""),
            )
        )
    return tuple(found)


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings by file and line, each fingerprint once: in the working tree, or else in its oldest commit."""
    once: dict[str, Finding] = {}
    for finding in findings:
        before = once.get(finding.fingerprint)
        if before is None or (before.commit and not finding.commit):
            once[finding.fingerprint] = finding
    return tuple(sorted(once.values(), key=lambda item: (bool(item.commit), item.file, item.line, item.fingerprint)))


_DIGITS = 16
