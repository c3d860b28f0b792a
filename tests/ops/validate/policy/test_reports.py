"""What was found is told to people, to programs and to CI servers in the way of each."""

import json

import pytest
import yaml
from lxml import etree

from lessee.core.severity import Level
from lessee.ops.validate.policy.reports import REPORTS, Report
from lessee.ops.validate.policy.results import Result, Teller

VAULT, OTHER = Teller("vault"), Teller("other")
FOUND = Report(
    "production",
    1764115200.0,
    (
        VAULT.passed("reachable", "Vault connection successful"),
        VAULT.critical("tls", "in the <clear> & open", "write 'https' or \"so\""),
        VAULT.warning("audit-device", "no audit log", "enable one"),
        VAULT.unlooked("login", "Vault does not serve"),
        VAULT.unlooked("token-ttl", "Vault does not serve either"),
        OTHER.unlooked("configured", "not configured"),
        Result("other", "odd", Level.INFO, passed=False, text="a\x1b[31m\nb\x00\ufffe"),
    ),
)
ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"},
    "testcase": {"name", "classname", "time"},
    "failure": {"message", "type"},
    "skipped": {"message", "type"},
}
"""Those that JUnit's schemas know, as CI servers have them."""


def test_people_get_the_seeds_layout():
    assert REPORTS["text"](FOUND) == (
        "============================================================\n"
        "ENVIRONMENT VALIDATION REPORT: production\n"
        "============================================================\n"
        "\n"
        "📁 VAULT\n"
        "----------------------------------------\n"
        "  ✅ 🔵 Vault connection successful\n"
        "  ❌ 🔴 in the <clear> & open\n"
        "       → write 'https' or \"so\"\n"
        "  ❌ 🟡 no audit log\n"
        "       → enable one\n"
        "  ⚪ 🔵 Vault does not serve (and 1 more could not be looked at)\n"
        "\n"
        "📁 OTHER\n"
        "----------------------------------------\n"
        "  ❌ 🔵 a?[31m?b??\n"
        "  ⚪ 🔵 not configured\n"
        "\n"
        "============================================================\n"
        "SUMMARY: 1/4 checks passed, 3 failed, 3 could not be looked at\n"
        "============================================================\n"
    )


def test_people_who_want_more_get_names_and_all_that_could_not_be_looked_at():
    text = REPORTS["text"](FOUND, verbose=True)
    assert "  ✅ 🔵 Vault connection successful [reachable]\n" in text
    assert "  ⚪ 🔵 Vault does not serve either [token-ttl]\n" in text
    assert "more could not be looked at" not in text


def test_where_all_passed_nothing_else_is_said():
    text = REPORTS["text"](Report("", 0.0, FOUND.results[:1]))
    assert text.splitlines()[1] == "ENVIRONMENT VALIDATION REPORT"
    assert "SUMMARY: 1/1 checks passed, 0 failed\n" in text


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_programs_get_one_object(form, read):
    found = read(REPORTS[form](FOUND))
    assert (found["environment"], found["at"]) == ("production", "2025-11-26T00:00:00Z")
    assert (found["passed"], found["failed"], found["unlooked"]) == (1, 3, 3)
    assert len(found["results"]) == len(FOUND.results)
    assert found["results"][1] == {
        "component": "vault",
        "check": "tls",
        "level": "critical",
        "passed": False,
        "text": "in the <clear> & open",
        "todo": "write 'https' or \"so\"",
    }
    assert found["results"][3]["passed"] is None


def test_ci_servers_get_what_junits_schema_allows():
    root = etree.fromstring(REPORTS["junit"](FOUND).encode())
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "7", "3")
    for element in root.iter():
        assert set(element.keys()) <= ATTRIBUTES[element.tag]
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["vault", "other"]
    assert suites["vault"].get("skipped") == "2"
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert len(cases["reachable"]) == 0
    assert cases["tls"][0].get("message") == "in the <clear> & open; write 'https' or \"so\""
    assert (cases["tls"][0].tag, cases["tls"][0].get("type")) == ("failure", "critical")
    assert cases["odd"][0].get("message") == "a?[31m?b??"
    assert (cases["login"][0].tag, cases["login"][0].get("message")) == ("skipped", "Vault does not serve")
