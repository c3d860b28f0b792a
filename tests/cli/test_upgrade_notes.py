"""`lessee upgrade-notes`: what changed since another version, from the changelog in the package."""

import subprocess
import sys
import zipfile

import pytest

from e2e.compose import copy_source
from lessee.cli.commands.upgrade_notes import notes_since
from lessee.core.errors import UsageError
from support.paths import ROOT
from support.programs.forks import run_lessee

CHANGELOG = "# Changelog\n\nText.\n\n## Unreleased\n\nnew\n\n## 1.10.0 - 2026-01-02\n\nten\n\n## [1.9]\n\nnine\n"


@pytest.mark.parametrize(
    ("version", "has"),
    [
        ("1.10.0", {"new"}),
        ("v1.10", {"new"}),
        ("1.9.7", {"new", "ten"}),
        ("1.9.0", {"new", "ten"}),
        ("1.8", {"new", "ten", "nine"}),
        ("0", {"new", "ten", "nine"}),
        ("2", {"new"}),
    ],
)
def test_the_sections_of_later_versions_are_printed(version, has):
    notes = notes_since(CHANGELOG, version)
    assert {word for word in ("new", "ten", "nine") if f"\n\n{word}" in notes} == has
    assert notes.startswith("## Unreleased")
    assert "Text." not in notes


@pytest.mark.parametrize("version", ["", "latest", "1.x", "1..2", "\x1b[2J", "1" * 5000 + "x"])
def test_what_is_no_version_is_an_error_that_names_one(version):
    with pytest.raises(UsageError) as failed:
        notes_since(CHANGELOG, version)
    assert str(failed.value) == "FROM: not a version; name the one that you upgrade from, such as 1.10.0, 1.9"


def test_a_version_of_many_digits_is_compared():
    assert notes_since(CHANGELOG, "1" * 5000).startswith("## Unreleased")


def test_the_program_prints_the_changelog_of_the_package(tmp_path):
    done = run_lessee("upgrade-notes", "0.1.0", cwd=tmp_path, env={})
    assert (done.returncode, done.stderr) == (0, "")
    text = (ROOT / "CHANGELOG.md").read_text()
    assert done.stdout.strip() == text[text.index("## Unreleased") : text.index("## 0.1.0")].strip()
    done = run_lessee("upgrade-notes", "latest", cwd=tmp_path, env={})
    assert done.returncode == 64


@pytest.mark.parametrize("version", ["9.9.9", "0.0.1", "1" * 50])
def test_the_program_names_the_versions_that_it_knows(tmp_path, version):
    done = run_lessee("upgrade-notes", version, cwd=tmp_path, env={})
    assert (done.returncode, done.stdout) == (64, "")
    assert f"knows no version {version[:20]}" in done.stderr
    assert "0.1.0" in done.stderr.partition(";")[2]


@pytest.mark.thorough
def test_a_wheel_has_the_changelog(tmp_path):
    source = copy_source(tmp_path / "source")
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source]
    subprocess.run([sys.executable, "-m", *command], check=True, timeout=120)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("lessee/CHANGELOG.md") == (ROOT / "CHANGELOG.md").read_bytes()
