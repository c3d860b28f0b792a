"""The report formats: text, JSON, SARIF, GitHub workflow commands, and GitLab code quality."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import quote

from lessee import __version__
from lessee.core.github_actions import command
from lessee.ops.lint.policy.findings import RULES, Finding
from lessee.ops.lint.policy.fixes.diff import Edit
from lessee.ops.lint.policy.fixes.model import Data
from lessee.ops.lint.policy.fixes.yaml_text import block

_SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


_COMMANDS = {"note": "notice"}
_SEVERITIES = {"error": "major", "warning": "minor", "note": "info"}

Edits = Callable[[Finding], Sequence[Edit]]
"""The edits of a finding's fix in the files as they are."""


def no_edits(_: Finding) -> Sequence[Edit]:
    """For findings whose files are not at hand."""
    return ()


def as_text(findings: Sequence[Finding], _: Edits = no_edits) -> str:
    """One line for each finding, and their number; empty without findings."""
    if not findings:
        return ""
    levels = Counter(finding.level for finding in findings)
    counted = [(levels["error"], "problem"), (levels["warning"], "warning"), (levels["note"], "note")]
    counts = ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counted if count)
    return "".join(f"{_line(finding)}\n" for finding in findings) + f"{counts}\n"


def _line(finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    level = "" if finding.level == "error" else f"{finding.level}: "
    todo = f"; {finding.help}" if finding.help else ""
    return f"{place}: {level}{finding.message}{todo}"


def pasted(document: Mapping[str, Data], paths: Sequence[str], name: str, *, is_default: bool, is_fixable: bool) -> str:
    """The lines that a Compose file lacks, as a file that overrides it; empty if nothing is missing.

    `is_fixable`: `--fix` can add at least one of them.
    """
    if not document:
        return ""
    files = " ".join(f"-f {path}" for path in (*paths, name))
    run = "`docker compose up` reads both" if is_default else f"`docker compose {files} up` reads it too"
    head = f"# Add these lines as {name}: {run}.\n"
    if is_fixable:
        fixing = f"lessee check --compose {' '.join(paths)} --fix"
        head += f"# Or have them in {paths[-1]}: `{fixing}` shows the difference first.\n"
    if secrets := document.get("secrets"):
        assert isinstance(secrets, Mapping)
        head += f"# Put {' and '.join(secrets)} into identity/, owned by root, with mode 0400.\n"
        head += "# `lessee setup --output DIR` writes those of an AppRole.\n"
    return f"{head}{block(document)}\n"


def as_json(findings: Iterable[Finding], edits: Edits = no_edits) -> str:
    """A list of objects; unknown values are null."""
    return json.dumps([_fields(finding, edits) for finding in findings], indent=2, ensure_ascii=False) + "\n"


def _fields(finding: Finding, edits: Edits) -> Mapping[str, object]:
    fields: dict[str, object] = {
        name: getattr(finding, name) or None for name in finding.__struct_fields__ if name not in {"fix", "lines"}
    }
    fields["help"] = finding.help
    fields["fix"] = None
    if finding.fix is not None:
        places = [{"file": it.file, "start": it.start, "end": it.end, "text": it.text} for it in edits(finding)]
        fields["fix"] = {"title": finding.fix.title, "edits": places}
    fields["lines"] = block(finding.lines) or None
    return fields


def as_sarif(findings: Sequence[Finding], edits: Edits = no_edits) -> str:
    """A SARIF 2.1.0 log, https://docs.oasis-open.org/sarif/sarif/v2.1.0/."""
    rules = [{"id": name, "shortDescription": {"text": about}} for name, about in RULES.items()]
    driver = {"name": "lessee", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "results": [_result(finding, edits) for finding in findings]}
    return json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _result(finding: Finding, edits: Edits) -> Mapping[str, object]:
    place: dict[str, object] = {"artifactLocation": {"uri": _uri(finding.file)}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    about = {name: value for name in ("app", "template") if (value := getattr(finding, name))}
    return {
        "ruleId": finding.rule,
        "ruleIndex": list(RULES).index(finding.rule),
        "level": finding.level,
        "message": {"text": _sentence(finding)},
        "locations": [{"physicalLocation": place}],
        **({"fixes": fixes} if (fixes := _fixes(finding, edits(finding))) else {}),
        **({"properties": about} if about else {}),
    }


def _fixes(finding: Finding, edits: Sequence[Edit]) -> Sequence[Mapping[str, object]]:
    """A fix, https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html#_Toc141791199."""
    if finding.fix is None or not edits:
        return ()
    changes = [
        {
            "artifactLocation": {"uri": _uri(file)},
            "replacements": [
                {
                    "deletedRegion": {"byteOffset": edit.start, "byteLength": edit.end - edit.start},
                    "insertedContent": {"text": edit.text},
                }
                for edit in edits
                if edit.file == file
            ],
        }
        for file in dict.fromkeys(edit.file for edit in edits)
    ]
    return ({"description": {"text": finding.fix.title}, "artifactChanges": changes},)


def _uri(file: str) -> str:
    return f"{'file://' if file.startswith('/') else ''}{quote(file)}"


def as_github(findings: Iterable[Finding], _: Edits = no_edits) -> str:
    """Workflow commands, https://docs.github.com/actions/reference/workflow-commands-for-github-actions."""
    return "".join(f"{_command(finding)}\n" for finding in findings)


def _command(finding: Finding) -> str:
    properties = {"file": finding.file, "line": str(finding.line or ""), "title": finding.rule}
    return command(_COMMANDS.get(finding.level, finding.level), _with_fix(finding), properties)


def as_gitlab(findings: Iterable[Finding], _: Edits = no_edits) -> str:
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
        "description": _with_fix(finding),
        "check_name": finding.rule,
        "fingerprint": hashlib.sha256(same.encode("utf-8", "surrogatepass")).hexdigest(),
        "severity": _SEVERITIES[finding.level],
        "location": {"path": finding.file, "lines": {"begin": finding.line or 1}},
    }


def _sentence(finding: Finding) -> str:
    return f"{finding.message}; {finding.help}" if finding.help else finding.message


def _with_fix(finding: Finding) -> str:
    """The sentence, for formats that have no place for a fix."""
    return f"{_sentence(finding)} (`lessee check --fix`: {finding.fix.title})" if finding.fix else _sentence(finding)


REPORTS: Mapping[str, Callable[[Sequence[Finding], Edits], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "github": as_github,
    "gitlab": as_gitlab,
}
"""The report functions, by the names of `--format`."""
