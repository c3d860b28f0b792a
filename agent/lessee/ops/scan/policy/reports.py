"""The report formats: text, JSON, SARIF, GitHub workflow commands, and GitLab's secret detection report."""

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from lessee import __version__
from lessee.core.github_actions import command
from lessee.core.immutable import ImmutableStruct
from lessee.core.printable import spelled_out
from lessee.ops.scan.policy.findings import RULES, Finding

_SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_GITLAB = (
    "https://gitlab.com/gitlab-org/security-products/security-report-schemas/-/raw/v15.0.1/dist/"
    "secret-detection-report-format.json"
)
_NO_COMMIT = "0000000"
"""What GitLab's own analyzer writes for a file that is not of a commit."""


class Report(ImmutableStruct, frozen=True):
    """The findings, and when the scan began and ended, in seconds since 1970."""

    findings: tuple[Finding, ...]
    began: float = 0.0
    ended: float = 0.0


def as_text(report: Report) -> str:
    """One line for each finding, and their number; empty without findings."""
    lines = [f"{_place(item)}: {item.rule}: {item.message}; {item.help}" for item in report.findings]
    count = len(lines)
    return (
        "".join(f"{spelled_out(line)}\n" for line in (*lines, f"{count} secret{'s' * (count != 1)}")) if lines else ""
    )


def _place(finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}"
    return f"{place} (commit {finding.commit[:_SHORT]})" if finding.commit else place


def as_json(report: Report) -> str:
    """A list of objects; unknown values are null."""
    items = [
        {**{name: getattr(item, name) or None for name in item.__struct_fields__}, "message": item.message}
        for item in report.findings
    ]
    return json.dumps(items, indent=2, ensure_ascii=False) + "\n"


def as_sarif(report: Report) -> str:
    """A SARIF 2.1.0 log, https://docs.oasis-open.org/sarif/sarif/v2.1.0/."""
    rules = [{"id": name, "shortDescription": {"text": about}} for name, about in RULES.items()]
    driver = {"name": "lessee scan", "version": __version__, "rules": rules}
    results = [_result(item) for item in report.findings]
    run = {"tool": {"driver": driver}, "results": results, "columnKind": "unicodeCodePoints"}
    return json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _result(finding: Finding) -> Mapping[str, object]:
    uri = f"{'file://' if finding.file.startswith('/') else ''}{quote(finding.file, errors='surrogateescape')}"
    place = {"artifactLocation": {"uri": uri}, "region": {"startLine": finding.line}}
    about = {"length": finding.length, "name": finding.name, "commit": finding.commit, "vault": finding.vault}
    return {
        "ruleId": finding.rule,
        "level": "error",
        "message": {"text": f"{spelled_out(finding.message)}; {finding.help}"},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"lesseeScan/v1": finding.fingerprint},
        "properties": {
            name: spelled_out(value) if isinstance(value, str) else value for name, value in about.items() if value
        },
    }


def as_github(report: Report) -> str:
    """Workflow commands, https://docs.github.com/actions/reference/workflow-commands-for-github-actions."""
    return "".join(f"{_command(item)}\n" for item in report.findings)


def _command(finding: Finding) -> str:
    place = {"file": spelled_out(finding.file), "line": str(finding.line), "title": finding.rule}
    return command("error", f"{spelled_out(finding.message)}; {finding.help}", place)


def as_gitlab(report: Report) -> str:
    """A secret detection report, https://docs.gitlab.com/user/application_security/secret_detection/."""
    tool = {"id": "lessee", "name": "lessee scan", "version": __version__, "vendor": {"name": "lessee"}}
    scan = {
        "analyzer": tool,
        "scanner": tool,
        "start_time": _time(report.began),
        "end_time": _time(report.ended),
        "status": "success",
        "type": "secret_detection",
    }
    document = {
        "version": "15.0.1",
        "schema": _GITLAB,
        "scan": scan,
        "vulnerabilities": [_vulnerability(item) for item in report.findings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _vulnerability(finding: Finding) -> Mapping[str, object]:
    about = RULES[finding.rule]
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"lessee-scan:{finding.fingerprint}:{finding.commit}")),
        "name": about,
        "description": f"{spelled_out(finding.message)}; {finding.help}",
        "severity": "Critical",
        "solution": finding.help,
        "identifiers": [{"type": "lessee_scan_rule", "name": f"lessee scan: {finding.rule}", "value": finding.rule}],
        "location": {
            "file": spelled_out(finding.file),
            "start_line": finding.line,
            "end_line": finding.line,
            "commit": {"sha": finding.commit or _NO_COMMIT},
        },
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


REPORTS: Mapping[str, Callable[[Report], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "github": as_github,
    "gitlab": as_gitlab,
}
"""The report functions, by the names of `--format`."""
_SHORT = 12
