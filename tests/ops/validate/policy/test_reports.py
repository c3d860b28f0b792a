"""Reports as text, JSON, YAML and JUnit XML."""

import json

import pytest
import yaml
from lxml import etree

from lessee.core.severity import Level
from lessee.ops.validate.policy.reports import REPORTS, Report
from lessee.ops.validate.policy.results import Reporter, Result, Skip

VAULT, OTHER = Reporter("vault"), Reporter("other")
REPORT = Report(
    "production",
    1764115200.0,
    (
        VAULT.passed("reachable", "Vault connection successful"),
        VAULT.critical("tls", "in the <clear> & open", "write 'https' or \"so\""),
        VAULT.warning("audit-device", "no audit log", "enable one"),
        VAULT.skipped("login", "Vault is unavailable"),
        VAULT.skipped("token-ttl", "Vault is still unavailable"),
        OTHER.skipped("configured", "not configured"),
        OTHER.skipped("compared", "2 of 6 are too short to compare", Skip.INCOMPLETE),
        Result("other", "odd", Level.INFO, passed=False, text="a\x1b[31m\nb\x00\ufffe"),
        Reporter("third").skipped("any", "nothing\x07 names it", Skip.NOT_CONFIGURED),
    ),
)
ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"},
    "testcase": {"name", "classname", "time"},
    "failure": {"message", "type"},
    "skipped": {"message", "type"},
}
"""The attributes in JUnit's schemas."""


def test_text_has_a_block_for_each_component():
    assert REPORTS["text"](REPORT) == (
        "============================================================\n"
        "ENVIRONMENT VALIDATION REPORT: production\n"
        "============================================================\n"
        "\n"
        "📁 VAULT\n"
        "----------------------------------------\n"
        "  ✅ 🔵 Vault connection successful\n"
        "  ❌ 🔴 in the <clear> & open [tls]\n"
        "       → write 'https' or \"so\"\n"
        "  ❌ 🟡 no audit log [audit-device]\n"
        "       → enable one\n"
        "  ⚪ 🔵 skipped: Vault is unavailable (and 1 more)\n"
        "\n"
        "📁 OTHER\n"
        "----------------------------------------\n"
        "  ⚪ 🔵 2 of 6 are too short to compare [compared]\n"
        "  ❌ 🔵 a?[31m?b?? [odd]\n"
        "  ⚪ 🔵 skipped: not configured\n"
        "\n"
        "📁 THIRD\n"
        "----------------------------------------\n"
        "  ⚪ 🔵 skipped: nothing? names it\n"
        "\n"
        "============================================================\n"
        "NOT LOOKED AT: third (not configured); only in part: other\n"
        "SUMMARY: 1/4 checks passed, 3 failed, 5 skipped\n"
        "============================================================\n"
        "✅ passed  ❌ failed  ⚪ not (wholly) looked at    🔴 critical  🟡 warning  🔵 information"
        "    [name of the check]\n"
    )


def test_verbose_text_has_check_names_and_all_skipped_checks():
    text = REPORTS["text"](REPORT, verbose=True)
    assert "  ✅ 🔵 Vault connection successful [reachable]\n" in text
    assert "  ⚪ 🔵 Vault is still unavailable [token-ttl]\n" in text
    assert "more)" not in text


def test_text_of_a_success_has_no_other_counts():
    text = REPORTS["text"](Report("", 0.0, REPORT.results[:1]))
    assert text.splitlines()[1] == "ENVIRONMENT VALIDATION REPORT"
    assert "SUMMARY: 1/1 checks passed, 0 failed\n" in text


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_json_and_yaml_have_one_object(form, read):
    found = read(REPORTS[form](REPORT))
    assert (found["environment"], found["at"]) == ("production", "2025-11-26T00:00:00Z")
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 3, 5)
    assert found["not_looked_at"] == {"third": "not_configured"}
    assert found["looked_at_in_part"] == ["other"]
    assert len(found["results"]) == len(REPORT.results)
    assert found["results"][1] == {
        "component": "vault",
        "check": "tls",
        "level": "critical",
        "passed": False,
        "text": "in the <clear> & open",
        "todo": "write 'https' or \"so\"",
        "skip": None,
    }
    assert found["results"][3]["skip"] == "not_possible"
    assert found["results"][3]["passed"] is None


def test_junit_has_only_attributes_of_its_schema():
    root = etree.fromstring(REPORTS["junit"](REPORT).encode())
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "9", "3")
    for element in root.iter():
        assert set(element.keys()) <= ATTRIBUTES[element.tag]
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["vault", "other", "third"]
    assert [suite.get("id") for suite in root] == ["0", "1", "2"]
    assert {suite.get("hostname") for suite in root} == {"localhost"}
    assert {suite.get("time") for suite in root} == {"0"}
    assert suites["vault"].get("skipped") == "2"
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert len(cases["reachable"]) == 0
    assert cases["tls"][0].get("message") == "in the <clear> & open; write 'https' or \"so\""
    assert (cases["tls"][0].tag, cases["tls"][0].get("type")) == ("failure", "critical")
    assert cases["odd"][0].get("message") == "a?[31m?b??"
    assert (cases["login"][0].tag, cases["login"][0].get("message")) == ("skipped", "Vault is unavailable")
