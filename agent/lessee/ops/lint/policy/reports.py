"""The report formats: text, JSON, SARIF, GitHub workflow commands, and GitLab code quality."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import quote

from lessee import __version__
from lessee.core.github_actions import command
from lessee.ops.lint.policy.findings import RULES, Finding

_SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_text(findings: Sequence[Finding]) -> str:
    """One line for each finding, and their number; empty without findings."""
    if not findings:
        return ""
    errors = sum(finding.level == "error" for finding in findings)
    warnings = len(findings) - errors
    counted = [(errors, "problem"), (warnings, "warning")]
    counts = ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counted if count)
    return "".join(f"{_line(finding)}\n" for finding in findings) + f"{counts}\n"


def _line(finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    level = "warning: " if finding.level == "warning" else ""
    todo = f"; {finding.help}" if finding.help else ""
    return f"{place}: {level}{finding.message}{todo}"


def as_json(findings: Iterable[Finding]) -> str:
    """A list of objects; unknown values are null."""
    return json.dumps([_fields(finding) for finding in findings], indent=2, ensure_ascii=False) + "\n"


def _fields(finding: Finding) -> Mapping[str, str | int | None]:
    return {name: getattr(finding, name) or None for name in finding.__struct_fields__} | {"help": finding.help}


def as_sarif(findings: Sequence[Finding]) -> str:
    """A SARIF 2.1.0 log, https://docs.oasis-open.org/sarif/sarif/v2.1.0/."""
    rules = [{"id": name, "shortDescription": {"text": about}} for name, about in RULES.items()]
    driver = {"name": "lessee", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "results": [_result(finding) for finding in findings]}
    return json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _result(finding: Finding) -> Mapping[str, object]:
    uri = f"{'file://' if finding.file.startswith('/') else ''}{quote(finding.file)}"
    place: dict[str, object] = {"artifactLocation": {"uri": uri}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    about = {name: value for name in ("app", "template") if (value := getattr(finding, name))}
    return {
        "ruleId": finding.rule,
        "ruleIndex": list(RULES).index(finding.rule),
        "level": finding.level,
        "message": {"text": _sentence(finding)},
        "locations": [{"physicalLocation": place}],
        **({"properties": about} if about else {}),
    }


def as_github(findings: Iterable[Finding]) -> str:
    """Workflow commands, https://docs.github.com/actions/reference/workflow-commands-for-github-actions."""
    return "".join(f"{_command(finding)}\n" for finding in findings)


def _command(finding: Finding) -> str:
    properties = {"file": finding.file, "line": str(finding.line or ""), "title": finding.rule}
    return command(finding.level, _sentence(finding), properties)


def as_gitlab(findings: Iterable[Finding]) -> str:
    """A code quality report, https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format."""
    seen: Counter[str] = Counter()
    issues = []
    for finding in findings:
        same = f"{finding.rule}\0{finding.file}\0{finding.message}"  # Without the line, which changes with edits above.
        issues.append(_issue(finding, f"{same}\0{seen[same]}" if seen[same] else same))
        seen[same] += 1  # GitLab displays only one issue for each fingerprint.
    return json.dumps(issues, indent=2, ensure_ascii=False) + "\n"


def _issue(finding: Finding, same: str) -> Mapping[str, object]:
    return {
        "description": _sentence(finding),
        "check_name": finding.rule,
        "fingerprint": hashlib.sha256(same.encode("utf-8", "surrogatepass")).hexdigest(),
        "severity": "major" if finding.level == "error" else "minor",
        "location": {"path": finding.file, "lines": {"begin": finding.line or 1}},
    }


def _sentence(finding: Finding) -> str:
    return f"{finding.message}; {finding.help}" if finding.help else finding.message


REPORTS: Mapping[str, Callable[[Sequence[Finding]], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "github": as_github,
    "gitlab": as_gitlab,
}
"""The report functions, by the names of `--format`."""
