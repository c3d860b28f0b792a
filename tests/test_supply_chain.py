"""Everything that is installed has a hash in a lock file, and is in the list of packages; advisories are looked up."""

import datetime as dt
import importlib
import json
import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from support.paths import ROOT

LOCKS = [".ci/requirements.lock", *(f".ci/runtime/{path.name}" for path in sorted((ROOT / ".ci/runtime").iterdir()))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ADVISORY = {
    "id": "X-1",
    "summary": "a test",
    "affected": [
        {
            "package": {"name": "Some_Package"},
            "ranges": [
                {"type": "ECOSYSTEM", "events": [{"introduced": "1.0"}, {"fixed": "1.10"}, {"introduced": "2"}]}
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def ci():
    """The modules of `.ci`, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / ".ci"))
        yield {name: importlib.import_module(name) for name in ("lock", "advisories")}


def text(path):
    return (ROOT / path).read_text()


@pytest.mark.parametrize(
    "lock", [*LOCKS, ".ci/packaging.txt", ".ci/helm.txt", ".ci/moto.txt", ".ci/sops.txt", ".ci/spiffe.txt"]
)
def test_each_package_of_a_lock_file_is_pinned_and_has_hashes(lock):
    entries = [entry for entry in re.split(r"^(?=[^ ])", text(lock), flags=re.MULTILINE) if entry]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[^ ;]+ ", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_all_that_the_project_names_is_locked(ci):
    extras = PROJECT["project"]["optional-dependencies"]
    base, build = (set(ci["lock"].pins(text(f".ci/runtime/{name}.txt"))) for name in ("base", "build"))
    assert names(PROJECT["project"]["dependencies"]) <= base
    assert names(PROJECT["build-system"]["requires"]) <= build
    for extra in set(extras) - {"test"}:
        assert names(extras[extra]) <= base | set(ci["lock"].pins(text(f".ci/runtime/{extra}.txt"))), extra
    packaging = names(PROJECT["dependency-groups"]["packaging"])
    assert packaging <= set(ci["lock"].pins(text(".ci/packaging.txt")))
    development = ci["lock"].pins(text(".ci/requirements.lock"))
    assert names(extras["test"]) | names(extras["demo"]) | names(extras["docs"]) | base | build <= set(development)
    # The tests run with what an image has.
    for lock in LOCKS[1:]:
        both = ci["lock"].pins(text(lock)).items()
        assert all(development.get(name, version) == version for name, version in both), lock


def names(requirements):
    return {re.match(r"[A-Za-z0-9.-]+", one)[0].lower().replace(".", "-") for one in requirements}


def test_the_list_of_packages_equals_the_lock_files(ci):
    locks = {path.split("/")[-1][:-4]: text(path) for path in LOCKS[1:] if Path(path).stem not in {"build", "docs"}}
    assert text(".ci/sbom.json") == ci["lock"].sbom(locks, ci["lock"].version())
    components = json.loads(text(".ci/sbom.json"))["components"]
    assert {one["name"] for one in components if one["scope"] == "required"} == set(ci["lock"].pins(locks["base"]))


def test_pip_installs_only_with_hashes():
    for path in ("Makefile", "compose/Dockerfile", "compose/quickstart/openbao/Dockerfile"):
        assert "--require-hashes" in text(path)
    assert text("compose/quickstart/openbao/requirements.txt") == text(".ci/runtime/demo.txt")


@pytest.mark.parametrize(
    ("version", "applies"),
    [("0.9", False), ("1.0", True), ("1.9", True), ("1.10", False), ("1.11", False), ("2.0", True), ("3", True)],
)
def test_an_advisory_is_found_for_the_versions_that_it_names(ci, version, applies):
    found = list(ci["advisories"].affected({"some-package": version}, [ADVISORY]))
    assert found == [f"some-package {version}: X-1: a test; update it with `make lock UPGRADE=yes`"] * applies


def test_the_last_affected_version_is_affected(ci):
    events = [{"introduced": "0"}, {"last_affected": "2.0"}]
    record = {"id": "X", "affected": [{"package": {"name": "a"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]}
    assert [len(list(ci["advisories"].affected({"a": version}, [record]))) for version in ("2.0", "2.0.1")] == [1, 0]


def test_the_records_of_locked_packages_alone_are_taken_over(ci):
    other = {"id": "X-2", "affected": [{"package": {"name": "other"}}]}
    withdrawn = ADVISORY | {"withdrawn": "2026-01-01T00:00:00Z"}
    records = ci["advisories"].shortened([other, withdrawn, ADVISORY | {"details": "long"}], ["some-package"])
    assert records == [ADVISORY]


def test_a_record_without_ranges_keeps_its_versions_and_one_without_a_summary_the_start_of_its_details(ci):
    affected = [{"package": {"name": "a"}, "ranges": [{"type": "GIT", "events": []}], "versions": ["1", "2"]}]
    records = ci["advisories"].shortened([{"id": "X", "details": "It\n leaks." * 99, "affected": affected}], ["a"])
    assert records[0]["affected"] == [{"package": {"name": "a"}, "versions": ["1", "2"]}]
    assert records[0]["summary"].startswith("It leaks.It")
    assert len(records[0]["summary"]) == 160
    assert [len(list(ci["advisories"].affected({"a": version}, records))) for version in ("2", "3")] == [1, 0]


def test_records_are_read_from_an_archive_and_from_a_folder(ci, tmp_path):
    folder, archive = tmp_path / "vulns/a", tmp_path / "all.zip"
    folder.mkdir(parents=True)
    (folder / "X-1.yaml").write_text("id: X-1\nmodified: 2024-01-02T03:04:05Z\n")
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("X-2.json", '{"id": "X-2"}')
    assert [one["id"] for source in (tmp_path, archive) for one in ci["advisories"].records_of(source)] == [
        "X-1",
        "X-2",
    ]


@pytest.mark.parametrize(
    ("today", "text"),
    [("2024-10-10", "0 days"), ("2024-10-11", "1 day"), ("2024-10-12", "2 days"), ("2027-10-10", "1,095 days")],
)
def test_the_age_of_the_list_of_advisories_is_printed_in_days(ci, today, text):
    age = ci["advisories"].age("2024-10-10", dt.date.fromisoformat(today))
    assert age == f"as of 2024-10-10, {text} ago"


def test_no_locked_package_has_a_known_advisory(ci):
    records = json.loads(text(".ci/advisories.json"))["records"]
    assert list(ci["advisories"].affected(ci["advisories"].locked(), records)) == []
    # The list is of packages that are locked: a record of another one would be looked at in vain.
    named = {one["package"]["name"].lower().replace("_", "-") for record in records for one in record["affected"]}
    assert named <= set(ci["advisories"].locked())
