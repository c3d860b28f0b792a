"""Compares `lessee scan` with gitleaks and detect-secrets on their own examples, and with a person on public files.

The repositories are not part of this one: SCAN_CORPUS is a folder with clones, or git clones them.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from figures import Figure
from scan_fixtures import Example, NotThereError, checkout, detect_secrets_examples, gitleaks_examples

from lessee.ops.scan import plugins
from lessee.ops.scan.policy.places import place_of
from lessee.ops.scan.policy.search import SearchResult, search

GITLEAKS = ("gitleaks/gitleaks", "b58d3f102cf3a2c84cb7f923d05c25c9b1aed84b")
DETECT_SECRETS = ("Yelp/detect-secrets", "5e141933554a0b74e7341841f318be21e895339c")
LABELS = Path(__file__).with_name("scan_labels.json")
"""What a person says of lines of public Compose and env files, by the SHA-256 of repository, path and line."""
_FILE = re.compile(r"(compose[^/]*\.ya?ml|(^|/)\.?env[^/]*|\.env)$", re.IGNORECASE)


def measure() -> Iterator[Figure]:
    """Measure in this process. What is not reachable is reported to stderr, and its figures are missing."""
    for part in (_gitleaks, _detect_secrets, _labeled):
        try:
            yield from part()
        except NotThereError as exc:
            sys.stderr.write(f"SKIPPED: {exc}\n")


def _gitleaks() -> Iterator[Figure]:
    root = checkout(*GITLEAKS)
    try:
        examples, unknown = gitleaks_examples(root)
    finally:
        shutil.rmtree(root)
    sys.stderr.write(f"gitleaks: {len(examples)} examples, {unknown} statements not evaluated\n")
    yield from _compare("gitleaks", examples, _found_by_gitleaks(examples) if shutil.which("gitleaks") else None)


def _detect_secrets() -> Iterator[Figure]:
    from detect_secrets.core.scan import scan_line  # noqa: PLC0415  # Only this part needs it.
    from detect_secrets.settings import default_settings  # noqa: PLC0415

    root = checkout(*DETECT_SECRETS)
    try:
        # An address is no secret.
        examples = [item for item in detect_secrets_examples(root) if item.origin != "ip_public"]
    finally:
        shutil.rmtree(root)
    with default_settings():
        theirs = [any(True for line in item.text.splitlines() for _ in scan_line(line)) for item in examples]
    yield from _compare("detect-secrets", examples, theirs)


def _compare(name: str, examples: list[Example], theirs: list[bool] | None) -> Iterator[Figure]:
    results = [_search(item.text, "a.conf") for item in examples]
    ours = [bool(result.hits) for result in results]
    known = [found or bool(result.placeholders) for found, result in zip(ours, results, strict=True)]
    secrets, others = (sum(item.is_secret is wanted for item in examples) for wanted in (True, False))

    def count(found: Iterable[bool], *, wanted: bool) -> int:
        return sum(flag for flag, item in zip(found, examples, strict=True) if item.is_secret is wanted)

    their = "not installed" if theirs is None else str(count(theirs, wanted=True))
    what = f"{secrets} secrets of {name}'s own examples"
    yield Figure(f"{what}: reported", their, str(count(ours, wanted=True)))
    right = count(known, wanted=True)
    # What was not looked at is neither met nor missed.
    is_met = right >= count(theirs, wanted=True) if theirs is not None else None
    yield Figure(f"{what}: reported, or recognized as placeholders", their, str(right), "≥ peer", is_met)
    alarms = count(ours, wanted=False)
    their = "not installed" if theirs is None else str(count(theirs, wanted=False))
    is_met = alarms <= count(theirs, wanted=False) if theirs is not None else None
    yield Figure(f"{others} other examples of {name}: reported", their, str(alarms), "≤ peer", is_met)


def _found_by_gitleaks(examples: list[Example]) -> list[bool]:
    """What the installed gitleaks finds with its own rules, each example in a file."""
    with tempfile.TemporaryDirectory(prefix="lessee-scan-") as folder:
        for number, item in enumerate(examples):
            Path(folder, f"{number}.conf").write_text(item.text)
        report = Path(folder, "report.json")
        words = ["gitleaks", "detect", "--no-git", "--source", folder, "--report-path", str(report), "--exit-code", "0"]
        subprocess.run([*words, "--log-level", "error"], check=True, capture_output=True, timeout=300)
        found = {Path(item["File"]).stem for item in json.loads(report.read_text())}
    return [str(number) in found for number in range(len(examples))]


def _labeled() -> Iterator[Figure]:
    document = json.loads(LABELS.read_text())
    labels = {label: kind for kind in ("secret", "placeholder", "plain") for label in document[kind]}
    found: dict[str, list[bool]] = {"secret": [], "placeholder": [], "plain": []}
    for name, commit in document["repositories"].items():
        root = checkout(name, commit)
        try:
            for path, line in _lines(root):
                label = hashlib.sha256(f"{name}:{path}:{line}".encode()).hexdigest()[:12]
                if (kind := labels.pop(label, None)) is not None:
                    found[kind].append(bool(_search(line, path).hits))
        finally:
            shutil.rmtree(root)
    assert not labels, f"{len(labels)} labeled lines are not there"
    for kind, target, is_met in (
        ("secret", "≥ 95 %", lambda share: share >= 0.95),
        ("plain", "≤ 5 %", lambda share: share <= 0.05),
        ("placeholder", "", None),
    ):
        share = sum(found[kind]) / len(found[kind])
        check: Callable[[float], bool] | None = is_met
        name = f"{len(found[kind])} lines of public Compose and env files that a person calls {kind}: reported"
        yield Figure(name, "", f"{share:.1%}", target, check(share) if check is not None else None)


def _lines(root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_file() and not name.startswith(".git/") and _FILE.search(name):
            for line in path.read_text(errors="replace").split("\n"):
                yield name, line.strip()


def _search(text: str, path: str) -> SearchResult:
    return search(text, place_of(path), plugins.search(text))
