"""A newcomer: a person with a clone of lessee and one of a project with plaintext, who types the README's commands."""

import os
import re
import select
import subprocess
import time
from pathlib import Path

from e2e.adopt_stacks import APP, POSTGRES
from e2e.compose import copy_source
from e2e.engine import BASE, PYTHON
from support.paths import ROOT
from support.programs.terminal import Terminal

README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs/how-to/adopt.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PLAINTEXT = ("an-example-password", "an-example-key-of-a-provider")
PROMPT = "newcomer> "
PATIENCE = 600
IMAGE = "lessee:latest"
# The images of the page, as this Engine has them.
_TAGS = {"image: postgres:17": f"image: {POSTGRES}", "image: shop": f"image: {APP}"}


def first_screen():
    """The commands of the README's first block."""
    [block, *_] = re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [line.partition(" #")[0].removeprefix("$ ").strip() for line in block.splitlines()]


def make_origin(folder):
    """The project of docs/how-to/adopt.md as a git repository."""
    folder.mkdir()
    [compose] = [text for word, text in BLOCKS if word == "yaml"]
    files = {"compose.yaml": compose} | {
        text.partition("\n")[0].removeprefix("# "): text for word, text in BLOCKS if word == "ini"
    }
    for name, text in files.items():
        for public, own in _TAGS.items():
            text = text.replace(public, own)  # noqa: PLW2901
        (folder / name).write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(folder)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)


def contents(folder):
    """The bytes of each file of a project, without git's."""
    skipped = {".git", "said"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not skipped & set(path.relative_to(folder).parts)
    }


def remember_port(server):
    """As after a reset of its folder: the port is remembered, because another server may have the default one."""
    folder = server.home / ".local/state/lessee/dev"
    folder.mkdir(parents=True)
    (folder / "lessee-dev.lock").touch(0o600)
    (folder / "port").write_text(f"{server.port}\n")
    server.folder = folder


class BaseImage:
    """The tag of the public image that adopt builds on, given to this machine's own base; as before afterwards."""

    def __init__(self, engine):
        version = subprocess.run([PYTHON, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        self._engine, self._tag = engine, f"python:{version.rpartition('.')[0]}-slim"
        self._stored = ""

    def __enter__(self):
        self._engine.make_base(BASE)
        self._had_base = self._has(self._tag)
        if not self._had_base:
            self._engine.docker("tag", BASE, self._tag)
        if self._has(IMAGE):
            self._stored = "lessee:stored-by-tests"
            self._engine.docker("tag", IMAGE, self._stored)
            self._engine.docker("image", "rm", IMAGE)
        return self

    def __exit__(self, *_):
        self._engine.docker("image", "rm", "--force", IMAGE, check=False)
        if not self._had_base:
            self._engine.docker("image", "rm", self._tag, check=False)
        if self._stored:
            self._engine.docker("tag", self._stored, IMAGE)
            self._engine.docker("image", "rm", self._stored)

    def _has(self, tag):
        return bool(self._engine.docker("image", "ls", "--quiet", tag).strip())


class Newcomer:
    """A person's interactive shell in a clone of lessee; `~/shop` is a clone of the page's project."""

    def __init__(self, shop, folder, wheels):
        """`wheels`: what pip installs, because a shell of the Engine's host has no network."""
        self.home, self.shop = shop.server.home, shop.server.home / "shop"
        make_origin(folder / "origin")
        subprocess.run(["git", "clone", "-q", str(folder / "origin"), str(self.shop)], check=True)
        clone = copy_source(folder / "clone")
        environ = shop.environ | {
            "PATH": os.pathsep.join([str(Path(PYTHON).parent), os.environ["PATH"]]),
            "COMPOSE_PROJECT_NAME": shop.name,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PS1": PROMPT,
            "TERM": "dumb",
        }
        bash = ("bash", "--norc", "--noprofile", "--noediting", "-i")
        self._terminal = Terminal(*shop.engine.network, *bash, cwd=clone, env=environ)
        self.said = ""
        self.times = []
        """Each line that the commands have said, and the seconds since the command was typed."""
        self._until(PROMPT)

    def close(self):
        self._terminal.close()

    def type(self, command, answer=None):
        """Type it, and `answer` to its question. Returns the seconds that it took; it must succeed."""
        began = time.monotonic()
        self.times = []
        self._terminal.type(f"{command}\n")
        if answer is not None:
            self._until("[y/N] ")
            self._terminal.type(f"{answer}\n")
        said = self._until(PROMPT)
        took = time.monotonic() - began
        self._terminal.type("echo code=$?\n")
        code = self._until(PROMPT)
        assert "code=0\r" in code, f"$ {command}\n{code}\n{said}"
        return took

    def _until(self, text):
        """As `Terminal.until`, with more patience and with times."""
        began, seen = time.monotonic(), ""
        while text not in seen:
            assert time.monotonic() - began < PATIENCE, seen
            if select.select([self._terminal._master], [], [], 0.05)[0]:
                new = os.read(self._terminal._master, 4096).decode(errors="replace")
                seen += new
                self.times += [(time.monotonic() - began, line) for line in new.splitlines() if line.strip()]
        self.said += seen
        return seen
