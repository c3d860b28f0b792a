"""`lessee adopt` in a folder that another person has prepared: it changes nothing outside, and believes no record."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from lessee.core.immutable import replace
from lessee.host.openbao import ROOT_TOKEN
from lessee.ops.adopt.record import Phase, RecordFolder

SECRET = "sk_live_canaryPlanted4Kj8Hs7Gd6Fa5"
COMPOSE = f"""\
name: planted
services:
  app:
    image: postgres:17
    environment:
      POSTGRES_PASSWORD: {SECRET}
"""
NEW_TEXT = "alias ls=rm\n"


class Clone:
    """A project from elsewhere, in the home of a user of lessee. There is no Engine."""

    def __init__(self, server, home):
        self.home, self.server = home, server
        self.folder = home / "clone"
        self.folder.mkdir(parents=True)
        self.write("compose.yaml", COMPOSE)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "DOCKER_HOST": "unix:///nowhere",
            "VAULT_ADDR": server.address,
            "VAULT_TOKEN": ROOT_TOKEN,
        }

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def adopt(self, *options, code=0, program=("-m", "lessee"), **environ):
        done = subprocess.run(
            [sys.executable, *program, "adopt", *options],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert SECRET not in done.stdout + done.stderr
        return done

    def record(self, **fields):
        """A record as a person writes it who knows lessee, but not this user."""
        own = {
            "id": "0badcafe",
            "project": "planted",
            "environment": "development",
            "address": self.server.address,
            "image": "lessee",
            "files": ["compose.yaml"],
        } | fields
        sealed = {"folder": str(self.folder), "mac": "0" * 64, "record": own}
        self.write(".lessee/record.json", json.dumps(own | sealed))

    def files(self):
        """Each file of the home outside of lessee's own state, with its content and mode."""
        found = {}
        for path in sorted(self.home.rglob("*")):
            if not path.is_relative_to(self.home / ".local"):
                content = path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes()
                found[str(path.relative_to(self.home))] = content, path.lstat().st_mode
        return found

    def roles(self):
        return self.server.ask("GET", "auth/approle/role?list=true")["data"]["keys"]


@pytest.fixture
def clone(server, tmp_path):
    return Clone(server, tmp_path / "home")


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def edited(path, text):
    edits = [{"span": {"file": path, "line": 1, "start": 0, "end": 0}, "text": text}]
    return {"path": path, "before": sha(""), "after": sha(text), "is_new": True, "edits": edits}


# A record of another person


@pytest.mark.thorough
@pytest.mark.parametrize("options", [(), ("--yes",), ("--undo", "--yes"), ("--plan",)])
def test_a_record_that_came_with_a_clone_is_refused_with_what_to_do(clone, options):
    precious = clone.home / "precious.txt"
    precious.write_text("mine\n")
    clone.server.approle("another-project", 'path "secret/*" { capabilities = ["read"] }')
    clone.record(
        phase="editing" if "--undo" not in options else "undoing",
        edited=[edited("../.bash_aliases", NEW_TEXT)] if "--undo" not in options else [],
        generated={"../precious.txt": sha("mine\n")},
        roles=["another-project"],
    )
    before = clone.files()
    error = clone.adopt(*options, code=78).stderr
    assert error == (
        f"lessee: {clone.folder}/.lessee/record.json: this user did not write this record of an adoption on this "
        f"machine; if it came with a clone or a copy, remove {clone.folder}/.lessee and run this command again; "
        "otherwise run it as the user who adopted the project\n"
    )
    assert clone.files() == before
    assert "another-project" in clone.roles()


def test_a_record_of_the_same_user_is_refused_in_a_copy_and_in_its_new_place(clone):
    clone.adopt("--yes", "--no-up")
    record = clone.folder / ".lessee/record.json"
    copied = clone.home / "copy"
    shutil.copytree(clone.folder, copied)
    original, clone.folder = clone.folder, copied
    error = clone.adopt("--undo", "--yes", code=78).stderr
    assert f"this record is of the project in {original}, which still has it; this is a copy: remove" in error
    # Also where the user names the old place, and where it is gone: nothing but the moved folder is the project.
    assert "which still has it" in clone.adopt("--undo", "--yes", "--moved-from", str(original), code=78).stderr
    hidden = original.rename(clone.home / "hidden")
    for options in (("--undo", "--yes"), ("--yes",), ("--plan",)):
        error = clone.adopt(*options, code=78).stderr
        assert f"this record is of the project in {original}, which has none any more; if you moved" in error
        assert f"add --moved-from {original}; if this is a copy, remove {copied}/.lessee" in error
    hidden.rename(original)
    clone.folder = original
    changed = json.loads(record.read_text())
    changed["record"]["generated"]["precious.txt"] = sha("mine\n")
    text = record.read_text()
    record.write_text(json.dumps(changed))
    assert "this user did not write this record" in clone.adopt("--undo", "--yes", code=78).stderr
    record.write_text(text)
    other = {"XDG_STATE_HOME": str(clone.home / "another-user")}
    assert "this user did not write this record" in clone.adopt("--undo", "--yes", code=78, **other).stderr
    clone.adopt("--undo", "--yes", "--no-up")
    assert not record.exists()


def test_an_interrupted_adoption_and_an_interrupted_undo_ask_before_they_continue(clone):
    clone.adopt("--yes", "--no-up")
    for phase in (Phase.EDITING, Phase.UNDOING):
        folder = RecordFolder(clone.folder, clone.environ)
        folder.save(replace(folder.load(), phase=phase))
        before = clone.files()
        assert "there is no terminal; add --yes" in clone.adopt(code=64).stderr
        assert clone.files() == before


# Links and paths in the folder


@pytest.mark.thorough
@pytest.mark.parametrize("link", [".lessee", ".lessee/identity", ".lessee/.gitignore", ".lessee/record.json"])
def test_a_link_in_the_folder_of_the_record_is_refused(clone, link):
    outside = clone.home / "docs"
    outside.mkdir()
    (clone.folder / link).parent.mkdir(exist_ok=True)
    (clone.folder / link).symlink_to(outside)
    before = clone.files()
    for options in ((), ("--undo",)):
        error = clone.adopt(*options, "--yes", "--no-up", code=78).stderr
        assert f"{clone.folder / link}: a symbolic link, where lessee keeps logins and its record; remove it" in error
    assert clone.files() == before


@pytest.mark.parametrize("link", ["lessee", "lessee/templates", "lessee/templates/app", "lessee/lessee.yaml"])
def test_a_link_in_the_place_of_adopts_own_files_is_named_before_anything_is_changed(clone, link):
    outside = clone.home / "docs"
    outside.mkdir()
    (clone.folder / link).parent.mkdir(parents=True, exist_ok=True)
    (clone.folder / link).symlink_to(outside / "new.yaml" if link.endswith(".yaml") else outside)
    before = clone.files()
    error = clone.adopt("--yes", "--no-up", code=73).stderr
    assert f"{clone.folder / link}: a symbolic link" in error
    assert clone.files() == before


def test_links_in_the_place_of_files_for_mcp_clients_are_refused_too(clone):
    servers = {"mcpServers": {"who": {"command": "who", "env": {"API_TOKEN": SECRET}}}}
    clone.write(".mcp.json", json.dumps(servers))
    (clone.folder / ".cursor").mkdir()
    (clone.folder / ".cursor/mcp.json").symlink_to("../../mine.json")
    (clone.home / "mine.json").write_text(json.dumps(servers))
    done = clone.adopt("--plan", "--yes", code=75).stdout
    assert ".cursor/mcp.json: a symbolic link" in done.replace(f"{clone.folder}/", "")
    (clone.home / ".vault-token").write_text(ROOT_TOKEN)
    (clone.folder / "lessee/mcp").mkdir(parents=True)
    (clone.folder / "lessee/mcp/templates").symlink_to("../../../docs")
    before = clone.files()
    error = clone.adopt("--yes", "--no-up", code=73).stderr
    assert f"{clone.folder}/lessee/mcp/templates: a symbolic link" in error
    assert clone.files() == before


def test_an_undo_follows_no_link_out_of_the_project(clone):
    clone.adopt("--yes", "--no-up")
    (clone.folder / "lessee").rename(clone.home / "elsewhere")
    (clone.folder / "lessee").symlink_to("../elsewhere")
    before = clone.files()
    assert f"{clone.folder}/lessee: a symbolic link" in clone.adopt("--undo", "--yes", "--no-up", code=73).stderr
    assert clone.files() == before


# Names in the Compose file


def test_the_name_of_a_variable_is_no_path_and_no_other_field(clone):
    up = "/".join([".."] * 12)
    names = [
        f"secrets.{up}{clone.home}/planted",
        "secrets.x",
        "command[0]",
        "entrypoint[1]",
        "labels.a",
        "build.args.B",
    ]
    variables = "".join(f"      {json.dumps(name)}: postgres://app:{SECRET}@db/app\n" for name in names)
    clone.write("compose.yaml", COMPOSE + variables)
    (clone.home / ".bashrc").write_text("mine\n")
    (clone.home / "planted.j2").symlink_to(".bashrc")
    before = clone.files()
    assert clone.adopt("--yes", "--no-up", code=75).stdout.count("is no name that a shell can export") == len(names)
    assert {name: content for name, content in clone.files().items() if name in before} == before
    made = {name for name in clone.files().keys() - before.keys() if not name.startswith("clone/.lessee")}
    assert {name.removeprefix("clone/") for name in made if not clone.home.joinpath(name).is_dir()} == {
        "compose.lessee.yaml",
        "lessee/adoption.json",
        "lessee/lessee.yaml",
        "lessee/templates/app/POSTGRES_PASSWORD.j2",
    }


# Copies with plaintext

KILLED = """
import os, pathlib, signal, sys
import lessee.cli

def killed(self, target):
    if pathlib.Path(target).name == ".dockerignore":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

rename, pathlib.Path.replace = pathlib.Path.replace, killed
sys.exit(lessee.cli.main(sys.argv[1:]))
"""


@pytest.fixture
def built(clone):
    """A project whose images are built, so that also `--no-up` changes a file of the user."""
    clone.write("compose.yaml", f"{COMPOSE}  web: {{build: .}}\n")
    clone.write(".dockerignore", f"# {SECRET}\n").chmod(0o640)
    return clone


@pytest.mark.thorough
def test_a_killed_undo_leaves_the_plaintext_only_where_git_ignores_it(built):
    before = built.files()
    built.adopt("--yes", "--no-up")
    built.adopt("--undo", "--yes", "--no-up", code=-signal.SIGKILL, program=("-c", KILLED))
    having = [name for name, (content, _) in built.files().items() if SECRET.encode() in (content or b"")]
    assert having == ["clone/.dockerignore", "clone/.lessee/..dockerignore.lessee", "clone/compose.yaml"]
    built.adopt("--undo", "--yes", "--no-up")
    assert built.files() == before


def test_a_file_that_was_removed_meanwhile_comes_back_with_its_mode(built):
    before = built.files()
    built.adopt("--yes", "--no-up")
    (built.folder / ".dockerignore").unlink()
    built.adopt("--undo", "--yes", "--no-up")
    assert built.files() == before
