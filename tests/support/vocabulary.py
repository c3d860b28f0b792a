"""Finds words that the project's vocabulary retired: `python tests/support/vocabulary.py [PATH …]`.

Prose is comments, docstrings and other strings of Python, and every line of other text files. Names are identifiers of
Python, split into their words. Each finding is a line `path:line: word; use …`, and the exit code is 1 where there are
any. An exception names its path, its word and its reason.
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {".css", ".cfg", ".html", ".hcl", ".j2", ".js", ".json", ".md", ".py", ".sh", ".toml", ".yaml", ".yml", ""}

PROSE = {
    r"told": "notified, reported, or name the actor and the verb",
    r"owed|owes": "pending",
    r"proved|unproved": "ready, verified",
    r"weather": "outage, or Vault unavailable",
    r"shown": "published, printed, displayed",
    r"kept": "stored, retained, reused, unchanged",
    r"anew": "again, or new",
    r"comes": "arrives, follows, is, or name the actor",
    r"goes": "is sent, is written, or name the actor",
    r"stands": "is, or contains",
    r"beside": "next to, in addition to, with",
    r"at once": "immediately, in one step, or concurrently",
    r"so far": "until now",
    r"is none": "say what it is not, and what it must be",
    r"by hand": "manually",
    r"nobody": "no process, no client, no user",
    r"somebody": "a user, another process",
    r"anybody": "any user, any process",
    r"whoever": "the process that, the client that",
    r"let go|lets go": "release",
    r"so long": "for this time, while",
}
"""What prose avoids, in any case; words as in GLOSSARY: they have a standard term or hide the actor."""

NAMES = {
    r"told|untold": "notified, reported",
    r"owed|owe|owes": "pending",
    r"proved|unproved|proving": "ready, readiness, verified",
    r"weather": "outage",
    r"anew": "again",
    r"nobody|somebody|whoever|anybody": "name what is meant",
    r"shelf": "publication store",
    r"ledger": "state store",
    r"courier": "delivery queue",
    r"door": "transport",
    r"sealer": "encrypted file",
}
"""What no identifier of Python contains as a word, in any case."""

RETIRED = (
    "CannotWrite",
    "AgentAway",
    "LeftByHand",
    "Undone",
    "Nudged",
    "Hearing",
    "LookAt",
    "FindMount",
    "GoodKept",
    "GiveUp",
    "boot_grace",
    "confirm_within",
    "retire_after",
    "again_after",
    "resolve_after",
    "refusals_in_a_row",
    "last_good",
    "looked_at",
    "next_try",
    "letting_go",
)
"""Whole identifiers that have another name now; in any text."""

EXCEPTIONS = {
    ("tests/support/vocabulary.py", "*"): "it holds the list",
    ("LICENSE", "*"): "the license's own text",
    ("agent/lessee/ops/migrate/policy/jinja/fragments.py", "is none"): "Jinja's test of null",
    ("tests/rendering/sandbox/test_filters.py", "is none"): "Jinja's test of null",
    ("tests/rendering/test_templates.py", "is none"): "Jinja's test of null",
    ("tests/templates/test_frontend_templates.py", "nobody"): "the name of a user",
    ("tests/e2e/test_frontend_browser.py", "nobody"): "the name of a user",
    ("tests/readers/package-lock.json", "*"): "written by npm",
    ("tests/ops/migrate/policy/rendered_by_go.json", "*"): "what Go's templates rendered",
    ("agent/lessee/config/grammar/renamed.py", "*"): "names the former keys, to say the new ones",
    ("agent/lessee/*format_1.py", "*"): "names the fields of 0.1.0, to read them",
    ("tests/*format_1.py", "*"): "as above",
}
"""Path pattern and word: the reason."""


def findings(paths: list[str]) -> Iterator[str]:
    """One line for each retired word in these files, or in all of the repository's."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted(set(listed.stdout.split())):
        file = ROOT / name
        if file.suffix not in TEXTS or not file.is_file() or _is_excepted(name, "*"):
            continue
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for line, word, instead in _python(text) if file.suffix == ".py" else _plain(text):
            if not _is_excepted(name, word.lower()):
                yield f"{name}:{line}: {word!r}; use {instead}"


def _python(text: str) -> Iterator[tuple[int, str, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            if token.string in _RETIRED:
                yield token.start[0], token.string, "its new name"
            else:
                words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", token.string)
                for word in words:
                    for pattern, instead in _NAMES:
                        if pattern.fullmatch(word):
                            yield token.start[0], token.string, instead
        elif token.type in _STRINGS:
            yield from ((token.start[0] + line - 1, word, instead) for line, word, instead in _plain(token.string))


def _plain(text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        for found in _ANY.finditer(line):
            word = found[0]
            instead = next((instead for pattern, instead in _PROSE if pattern.fullmatch(word)), "its new name")
            yield number, word, instead


def _is_excepted(name: str, word: str) -> bool:
    return any(fnmatchcase(name, pattern) and found == word for pattern, found in EXCEPTIONS)


_RETIRED = frozenset(RETIRED)
_PROSE = [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in PROSE.items()]
_NAMES = [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in NAMES.items()]
_ANY = re.compile(rf"\b(?:(?i:{'|'.join(PROSE)})|{'|'.join(RETIRED)})\b")
_STRINGS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)}


def main(paths: list[str]) -> int:
    """Print the findings; 1 where there are any."""
    found = list(findings(paths))
    for line in found:
        print(line)  # noqa: T201  # It is what this is for.
    words = "retired word" if len(found) == 1 else "retired words"
    print(f"{len(found)} {words}" if found else "no retired word")  # noqa: T201  # As above.
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
