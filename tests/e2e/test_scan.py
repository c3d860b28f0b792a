"""`lessee scan` on projects and git repositories: what it finds, what it runs, and what it never prints."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tracemalloc
from base64 import b64encode

import pytest
import yaml

from lessee.ops.scan.policy.findings import SALT
from lessee.ops.scan.repository import Repository
from lessee.ops.scan.scanner import Scanner
from support.needs import need
from support.paths import ROOT
from support.programs.forks import run_lessee

CANARY = "HUNTER2c4n4ry"
AWS = "AKIA" + "4CANARYQ7ZX2WVB5"
GITHUB = "ghp_" + "c4N4rYc4N4rYq8W2eR6tY0uI3oP5aS7dF1gH"
PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    + "\n".join([b64encode(os.urandom(48)).decode()] * 4)
    + "\n-----END PRIVATE KEY-----\n"
)
FILES = {
    ".env": f"POSTGRES_PASSWORD={CANARY}\nDEBUG=true\n",
    "compose.yaml": f"services:\n  db:\n    environment:\n      MYSQL_ROOT_PASSWORD: {CANARY}x\n      TZ: UTC\n",
    "settings.py": f'class Settings(BaseSettings):\n    api_key: SecretStr = Field(default="{CANARY}7")\n',
    "web/.env.production": f"VITE_TITLE=Shop\nVITE_STRIPE_SECRET_KEY=sk_live_{CANARY}\n",
    ".cursor/mcp.json": json.dumps({"mcpServers": {"a": {"env": {"GITHUB_TOKEN": GITHUB}}}}, indent=1),
    ".github/workflows/ci.yml": f"jobs:\n  a:\n    env:\n      AWS_ACCESS_KEY_ID: {AWS}\n",
    "deploy.sh": f"curl -u deploy:{CANARY}9 https://registry/\n",
    "app/db.py": f'URL = "postgresql://app:{CANARY}5@db/app"\n',
    "tls/server.key": PEM,
}
HARMLESS = {
    ".env.example": "POSTGRES_PASSWORD=changeme\nAPI_KEY=your-api-key-here\nURL=postgres://user:password@localhost/db\n",
    "README.md": "Set `PASSWORD=hunter2`, or `postgres://app:secret@db/app`.\n",
    "ok.yaml": "services: {a: {environment: {A_PASSWORD: '${A_PASSWORD}', PASSWORD_FILE: /run/secrets/a}}}\n",
    "web/.env": "VITE_API_URL=https://api.example.com\nVITE_STRIPE_KEY=pk_live_51Mabcdefghijklmnop\n",
    "package-lock.json": '{"integrity": "sha512-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4=="}\n',
    "app.py": 'password = os.environ["A"]\ntoken_type = "bearer"\nid = "43fc912ef59a83054ea7f6706df4d53a7dea4d8"\n',
}
SAFE = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project")


class Project:
    """A directory of files, and its git repository."""

    def __init__(self, root):
        self.root = root
        root.mkdir()

    def write(self, files):
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def git(self, *words, **more):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *words]
        done = subprocess.run(command, cwd=self.root, env=SAFE, capture_output=True, text=True, check=False, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def commit(self, files, message="a"):
        if not (self.root / ".git").exists():
            self.git("init", "-q", "-b", "main")
        self.write(files)
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "-m", message)

    def run(self, *words, **environ):
        return run_lessee("scan", *words, cwd=self.root, env={**SAFE, **environ})

    def findings(self, *words, code=1, **environ):
        done = self.run("--format", "json", *words, **environ)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)


def test_each_kind_of_file_is_searched_and_examples_are_not_reported(project):
    project.write({**FILES, **HARMLESS})
    found = {item["file"]: item for item in project.findings()}
    assert found.keys() == FILES.keys()
    assert {name: item["rule"] for name, item in found.items()} == {
        ".env": "named-secret",
        "compose.yaml": "named-secret",
        "settings.py": "named-secret",
        "web/.env.production": "known-key",
        ".cursor/mcp.json": "known-key",
        ".github/workflows/ci.yml": "known-key",
        "deploy.sh": "authorization",
        "app/db.py": "password-in-url",
        "tls/server.key": "private-key",
    }
    assert found["compose.yaml"]["line"] == 4
    assert (found[".env"]["name"], found[".env"]["length"]) == ("POSTGRES_PASSWORD", len(CANARY))


def test_a_project_without_secrets_exits_with_0(project):
    project.write(HARMLESS)
    done = project.run()
    assert (done.returncode, done.stdout) == (0, "")
    assert "0 secrets found" in done.stderr
    assert "placeholders ignored" in done.stderr


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github", "gitlab"])
def test_no_value_is_printed_in_any_format(project, form):
    project.commit(FILES, f"the password is {CANARY}0, see postgres://a:{CANARY}1@db/a")
    project.write({f"{CANARY}/.env": f"PASSWORD_{GITHUB}={GITHUB}\nTOKEN={CANARY}\n"})
    for words in [(), ("--no-history",), ("--staged",), ("--accept",)]:
        project.git("add", "-A")
        done = project.run("--format", form, *words)
        for value in (CANARY, AWS, GITHUB, PEM.split("\n")[1]):
            assert value not in done.stdout + done.stderr, words
    assert CANARY not in (project.root / ".lessee-scan.json").read_text()


def test_the_git_history_keeps_what_the_working_tree_has_lost(project):
    project.commit({"old/config.env": f"A=1\nDB_PASSWORD={CANARY}\n"}, "add")
    [first] = project.git("rev-list", "HEAD").split()
    project.commit({"old/config.env": "A=1\n"}, "remove")
    project.git("checkout", "-q", "-b", "other", first)
    project.commit({"b.py": f'url = "redis://:{CANARY}8@cache/0"\n'}, "on a branch")
    project.git("checkout", "-q", "main")
    found = project.findings()
    assert [(item["file"], item["line"], bool(item["commit"])) for item in found] == [
        ("b.py", 1, True),
        ("old/config.env", 2, True),
    ]
    assert found[1]["commit"] == first
    assert project.findings("--no-history", code=0) == []
    assert [item["file"] for item in project.findings("old")] == ["old/config.env"]


def test_a_secret_in_a_merge_or_a_commit_message_is_found(project):
    project.commit({"a": "a\n"})
    project.git("checkout", "-q", "-b", "x")
    project.commit({"b": "b\n"}, f"set postgres://app:{CANARY}@db/app")
    project.git("checkout", "-q", "main")
    project.commit({"c": "c\n"})
    project.git("merge", "-q", "--no-commit", "x")
    project.commit({"evil.env": f"TOKEN={CANARY}2\n"}, "merge")
    project.git("rm", "-q", "evil.env")
    project.commit({}, "remove")
    assert {item["file"] for item in project.findings()} == {"commit message", "evil.env"}


def test_only_the_commits_of_a_range_are_searched(project):
    project.commit({"a.env": f"PASSWORD={CANARY}\n"})
    project.commit({"a.env": f"PASSWORD={CANARY}\nB=1\n", "b.env": f"TOKEN={CANARY}3\n"})
    assert [item["file"] for item in project.findings("--commits", "HEAD~1..HEAD")] == ["b.env"]
    for wrong in ("nope..HEAD", "--output=x", ""):
        done = project.run(f"--commits={wrong}")
        assert done.returncode == 64, wrong
        assert "--commits" in done.stderr
    assert not (project.root / "x").exists()


def test_a_hook_rejects_only_what_the_commit_adds(project):
    project.commit({"a.env": f"PASSWORD={CANARY}\n"})
    hook = project.root / ".git/hooks/pre-commit"
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} -m lessee scan --staged\n")
    hook.chmod(0o755)
    project.write({"a.env": f"# a comment\nPASSWORD={CANARY}\n", "c.env": "A=1\n"})
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "an edit above an old secret")
    project.write({"c.env": f"A=1\nTOKEN={CANARY}4\n", "d.env": f"TOKEN={CANARY}\n"})
    project.git("add", "c.env")
    with pytest.raises(AssertionError) as raised:
        project.git("commit", "-q", "-m", "b")
    assert "c.env:2: named-secret: TOKEN" in str(raised.value)
    assert "d.env" not in str(raised.value)
    # `git commit FILE` has an index of its own, which only its hook knows.
    project.git("reset", "-q")
    with pytest.raises(AssertionError) as raised:
        project.git("commit", "-q", "c.env", "-m", "b")
    assert "c.env:2" in str(raised.value)


def test_the_first_commit_of_a_repository_is_searched(project):
    project.git("init", "-q")
    project.write({"a.env": f"PASSWORD={CANARY}\n"})
    project.git("add", "-A")
    assert [item["file"] for item in project.findings("--staged")] == ["a.env"]


def test_accepted_findings_are_not_reported_until_they_change(project):
    project.commit({**FILES, "weak.env": "PASSWORD=hunter2\n"})
    done = project.run("--accept")
    assert (done.returncode, "10 accepted (10 new" in done.stdout) == (0, True), done.stdout
    baseline = project.root / ".lessee-scan.json"
    assert stat.S_IMODE(baseline.stat().st_mode) == 0o644
    assert project.findings(code=0) == []
    project.write({"new.env": f"TOKEN={CANARY}6\n", ".cursor/mcp.json": f'{{"GITHUB_TOKEN": "{GITHUB[::-1]}"}}'})
    assert {item["file"] for item in project.findings()} == {".cursor/mcp.json", "new.env"}
    document = json.loads(baseline.read_text())
    assert len(bytes.fromhex(document["salt"])) == 32
    document["accepted"][0]["note"] = "a test account"
    baseline.write_text(json.dumps(document))
    project.run("--accept")
    assert "a test account" in baseline.read_text()
    baseline.write_text("{}")
    done = project.run()
    assert done.returncode == 78
    assert ".lessee-scan.json: it is not a baseline" in done.stderr


def test_the_baseline_of_the_repository_applies_to_a_part_of_it(project):
    project.commit({"sub/a.env": f"PASSWORD={CANARY}\n"})
    project.run("--accept")
    for words in (["sub"], ["sub", "--no-history"], ["sub/a.env", "--no-history"]):
        done = project.run(*words)
        assert (done.returncode, "1 accepted" in done.stderr) == (0, True), done.stderr
        assert "no longer found" not in done.stderr


def test_a_scan_of_a_part_removes_nothing_from_the_baseline(project):
    project.commit({"sub/a.env": f"PASSWORD={CANARY}\n", "b.env": f"TOKEN={CANARY}2\n"})
    project.run("--accept")
    for words in (["sub"], ["--no-history"], ["--staged"]):
        done = project.run("--accept", *words)
        assert "2 accepted (0 new, 0 removed)" in done.stdout, done
    project.git("rm", "-q", "b.env")
    shutil.rmtree(project.root / ".git")
    assert "1 accepted (0 new, 1 removed)" in project.run("--accept").stdout


def test_the_hook_of_pre_commit_is_a_command_of_lessee(project):
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, command, *words = hook["entry"].split()
    assert (program, command) == ("lessee", "scan")
    project.commit({"a": "a\n"})
    assert project.run(*words).returncode == 0


def test_a_fingerprint_does_not_help_to_guess_a_weak_value(project):
    project.write({"a.env": "PASSWORD=hunter2\n"})
    [one] = project.findings()
    project.write({"a.env": "PASSWORD=letmein\n"})
    [two] = project.findings()
    assert one["fingerprint"] == two["fingerprint"]


def test_equal_keys_of_two_repositories_have_different_fingerprints(project, tmp_path):
    other = Project(tmp_path / "other")
    prints = set()
    for each in (project, other):
        each.write({"a.env": f"GITHUB_TOKEN={GITHUB}\n"})
        each.run("--accept")
        prints.add(json.loads((each.root / ".lessee-scan.json").read_text())["accepted"][0]["fingerprint"])
    assert len(prints) == 2


@pytest.fixture
def traps(project, tmp_path):
    """A repository that names a program wherever git may run one. Each writes its name into the returned directory."""
    ran = tmp_path / "ran"
    ran.mkdir()
    trap = tmp_path / "trap"
    trap.write_text(f'#!/bin/sh\ntouch {ran}/$$-"$1"\ncat\n')
    trap.chmod(0o755)
    project.commit({"a.env": "PASSWORD=changeme\n", "c.txt": "x\n", ".gitattributes": "* diff=evil filter=evil text\n"})
    project.commit({"a.env": f"PASSWORD={CANARY}\n"})
    for name, value in {
        "core.fsmonitor": "fsmonitor",
        "core.pager": "pager",
        "core.sshCommand": "ssh",
        "core.alternateRefsCommand": "refs",
        "core.editor": "editor",
        "core.askPass": "askpass",
        "diff.external": "external",
        "diff.evil.command": "command",
        "diff.evil.textconv": "textconv",
        "filter.evil.clean": "clean",
        "filter.evil.smudge": "smudge",
        "filter.evil.process": "process",
        "gpg.program": "gpg",
        "credential.helper": "helper",
        "uploadpack.packObjectsHook": "pack",
        "pager.log": "log",
        "alias.log": "!alias",
    }.items():
        bang = "!" if value.startswith("!") else ""
        project.git("config", name, f"{bang}{trap} {value.lstrip('!')}")
    project.git("config", "log.showSignature", "true")
    project.git("config", "log.showRoot", "false")
    project.git("config", "protocol.ext.allow", "always")
    project.git("config", "remote.origin.url", f"ext::{trap} remote")
    project.git("config", "remote.origin.promisor", "true")
    project.git("config", "extensions.partialClone", "origin")
    project.git("config", "core.hooksPath", str(tmp_path))
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (tmp_path / name).symlink_to(trap)
    return ran


def test_nothing_that_a_repository_names_is_run(project, traps):
    for words in [(), ("--staged",), ("--commits", "HEAD")]:
        project.run(*words)
    assert [item["file"] for item in project.findings()] == ["a.env"]
    assert list(traps.iterdir()) == []


def test_an_object_that_a_partial_clone_lacks_is_not_fetched_and_is_reported(project, traps):
    blob = project.git("rev-parse", "HEAD:c.txt").strip()
    (project.root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    done = project.run()
    assert done.returncode == 1
    assert "not searched: c.txt: missing in the repository" in done.stderr
    assert "lessee: 6 files, 2 commits searched" in done.stderr
    assert list(traps.iterdir()) == []


def test_links_pipes_and_devices_are_not_opened(project, tmp_path):
    (tmp_path / "outside.env").write_text(f"PASSWORD={CANARY}\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/b.env").write_text(f"PASSWORD={CANARY}\n")
    (project.root / "a.env").symlink_to(tmp_path / "outside.env")
    (project.root / "sub").symlink_to(tmp_path / "folder")
    (project.root / "loop").symlink_to(project.root)
    os.mkfifo(project.root / "pipe.env")
    assert project.findings(code=0) == []


def test_binary_huge_and_deep_content_is_bounded(project):
    with (project.root / "huge.env").open("wb") as file:
        file.truncate(1 << 40)
    (project.root / "binary").write_bytes(b"\0" * 100 + f"PASSWORD={CANARY}".encode())
    (project.root / "wide.env").write_text("A" * (3 << 20) + f"\nPASSWORD={CANARY}\n")
    (project.root / "utf16.env").write_bytes(f"PASSWORD={CANARY}\r\n".encode("utf-16"))
    folder = project.root
    for _ in range(300):
        folder = folder / "d"
    folder.mkdir(parents=True)
    (folder / "deep.env").write_text(f"PASSWORD={CANARY}\n")
    done = project.run("--format", "json")
    found = json.loads(done.stdout)
    assert [item["file"].rpartition("/")[2] for item in found] == ["deep.env", "utf16.env", "wide.env"]
    assert [item["line"] for item in found] == [1, 1, 2]
    assert "not searched: huge.env: larger than 64 MiB" in done.stderr
    assert "3 files searched; 3 secrets found; 1 binary file not searched" in done.stderr


def test_what_cannot_be_read_makes_the_scan_incomplete(project):
    (project.root / "huge.bin").touch()
    with (project.root / "huge.bin").open("wb") as file:
        file.truncate(1 << 30)
    assert project.run().returncode == 75


def test_the_summary_counts_only_files_that_were_searched(project):
    (project.root / "nul.env").write_bytes(f"PASSWORD={CANARY}\n".encode() + b"\0")
    done = project.run()
    assert (done.returncode, done.stdout) == (0, "")
    assert "lessee: 0 files searched; 0 secrets found; 1 binary file not searched\n" in done.stderr
    project.commit({"a.txt": "a\n", "empty.txt": ""})
    (project.root / "nul.env").write_bytes(b"\0")
    project.git("commit", "-q", "-a", "-m", "b")
    summary = "2 files, 2 commits searched; 0 secrets found; 2 binary files not searched"
    assert summary in project.run("--commits", "HEAD").stderr
    assert "4 files, 2 commits searched; 0 secrets found; 3 binary files not searched" in project.run().stderr
    (project.root / "nul.env").write_text("A=1\n")
    project.git("add", "-A")
    assert "1 file searched; 0 secrets found\n" in project.run("--staged").stderr


def test_the_name_of_a_file_that_is_not_searched_shows_no_value(project):
    project.write({"a.env": f"PASSWORD={CANARY}\n"})
    with (project.root / f"{CANARY}.bin").open("wb") as file:
        file.truncate(1 << 30)
    done = project.run()
    assert "not searched: [value].bin: larger than 64 MiB" in done.stderr
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.thorough
def test_the_memory_for_a_long_history_is_bounded(project):
    text = f"{'x' * 99}\n" * ((40 << 20) // 100)
    for number in range(2):
        project.commit({"big.txt": f"{number}\n{text}"})
    scanner = Scanner(SALT, {})
    repository = Repository.find(project.root, SAFE)
    tracemalloc.start()
    try:
        assert list(scanner.scan_history(repository)) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert scanner.commits == 2
    assert peak < 30 << 20, "it has read a whole file of 40 MiB"


def test_a_repository_of_another_user_says_how_to_trust_it(project):
    need(os.geteuid() == 0, "needs root, to give a repository to another user")
    project.commit({"a": "a\n"})
    for path in (project.root, project.root / ".git"):
        os.chown(path, 65534, 65534)
    done = project.run()
    assert done.returncode == 70
    assert "belongs to another user" in done.stderr
    assert "safe.directory" in done.stderr
    assert project.run("--no-history").returncode == 0


def test_wrong_arguments_are_explained(project):
    for words, what in [
        (["nope"], "nope: not found"),
        (["--staged"], "it belongs to no git repository"),
        (["--staged", "--no-history"], "not allowed with"),
    ]:
        done = project.run(*words)
        assert (done.returncode, what in done.stderr) == (64, True), done.stderr
    done = project.run("--baseline", "nope.json")
    assert (done.returncode, "nope.json: not found; add --accept to create it" in done.stderr) == (78, True)
    bare = project.root / "bare.git"
    project.git("init", "-q", "--bare", str(bare))
    assert "it is a bare git repository" in project.run(str(bare)).stderr


def test_values_that_vault_has_are_named_by_their_paths(sidecar, bao, folder, tmp_path):
    bao.put(f"testing/{folder}/database/postgres", password="correct horse battery", user="app")
    bao.put(f"testing/{folder}/api-keys/github", token=GITHUB)
    sidecar.config["secrets"] = {"prefix": f"testing/{folder}/"}
    sidecar.template("app.env.j2", 'PASSWORD={{ secret("database/postgres").password }}\n')
    sidecar.write_config()
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text(f'print("{GITHUB}")\n')
    (tmp_path / "src/b.txt").write_text(f"\n{b64encode(b'x correct horse battery').decode()}\n")
    (tmp_path / "src/c.txt").write_text("a horse\n")
    done = sidecar.command("scan", "--format", "json", "--no-history", "src")
    assert {item["file"]: item["vault"] for item in json.loads(done.stdout)} == {"a.py": None}
    done = sidecar.command("scan", "--format", "json", "--no-history", "--vault", "src")
    assert done.returncode == 1, done.stderr
    assert {item["file"]: (item["rule"], item["vault"], item["line"]) for item in json.loads(done.stdout)} == {
        "a.py": ("known-key", f"secret/testing/{folder}/api-keys/github: token", 1),
        "b.txt": ("vault-secret", f"secret/testing/{folder}/database/postgres: password", 2),
    }
    assert GITHUB not in done.stdout + done.stderr
    assert "horse" not in done.stdout + done.stderr


def test_a_scan_never_contacts_the_vault_of_a_scanned_project_by_itself(project):
    project.write({"lessee.yaml": "vault: {address: http://127.0.0.1:1}\n", **HARMLESS})
    assert project.run(VAULT_TOKEN="x").returncode == 0
