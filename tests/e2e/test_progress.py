"""Commands of operators that take longer than two seconds show on stderr how far they are."""

import itertools
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager

import psutil
import pytest

from lessee.host.openbao import ROOT_TOKEN
from support.environments.backups import Backups, canary
from support.programs.sidecar import PATIENCE, eventually
from support.programs.terminal import Terminal
from support.servers.fault_proxy import Reply

SECRETS = 30
SHAPE = r"[a-z_' ]+(: [\d,]+( of [\d,]+ \(\d+%\))?)?(, [\d,.]+/s)?(, no progress for \w+)?(, \w+ left)?(, \w+ elapsed)?"


_NUMBERS = itertools.count()


class Gate:
    """Holds requests until `open` is called."""

    def __init__(self):
        self._opened = threading.Event()
        self.open = self._opened.set

    def __call__(self, _):
        assert self._opened.wait(PATIENCE)


class Command:
    """A command of lessee that runs, and what it has written."""

    def __init__(self, folder, environ, *arguments):
        number = next(_NUMBERS)
        self.out, self.err = folder / f"stdout{number}", folder / f"stderr{number}"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lessee", *arguments],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def until(self, words):
        eventually(lambda: words in self.err.read_text(), f"{words!r} on stderr")

    def end(self):
        """The exit code and stdout. Each line on stderr is one of the progress, and no value is in any."""
        code = self.process.wait(PATIENCE)
        lines = self.err.read_text().splitlines()
        assert [line for line in lines if not re.fullmatch(SHAPE, line)] == []
        assert canary() not in self.err.read_text() + self.out.read_text()
        return code, self.out.read_text()


@pytest.fixture(autouse=True)
def secrets(server):
    for number in range(SECRETS):
        for folder in ("production", "legacy"):
            server.put(f"{folder}/some/{number}", value=canary(number))


@pytest.fixture
def run(proxy, tmp_path, memory):
    """Starts a command behind the proxy, with the configuration of backups and environments."""
    backups = Backups(proxy.address, tmp_path, memory)
    backups.config |= {"environment": "production", "setup": {"environments": ["production", "testing"]}}
    backups.config |= {"validate": {"timeout": "60s"}, "secrets": {"mount": "secret"}}
    backups.write_config()
    commands = []

    def start(*arguments, **environ):
        commands.append(Command(tmp_path, backups.environ | environ, *arguments))
        return commands[-1]

    yield start
    for command in commands:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()


@contextmanager
def held(proxy, *paths):
    """Requests whose paths contain one of these are held within the `with` block."""
    gate = Gate()
    for words in paths:
        proxy.on_path(words, Reply(gate))
    try:
        yield
    finally:
        gate.open()
        proxy.clear()


CASES = {
    "save": (["backup", "save"], "data/production/some/9", "saving secrets", 2 * SECRETS),
    "restore": (["backup", "restore", "latest", "--plan"], "metadata/legacy/some/9", "comparing secrets", 2 * SECRETS),
    "migrate": (
        ["setup", "--migrate-from", "secret/legacy", "--to", "testing", "--plan"],
        "metadata/legacy/some/9",
        "comparing secrets",
        SECRETS,
    ),
    "validate": (["validate", "--component", "vault", "--format", "json"], "sys/health", "checking", r"\d+"),
    "emergency": (
        ["emergency", "--environment", "production", "--dry-run"],
        "metadata/production/some/9",
        "reading versions of secrets",
        SECRETS,
    ),
}
"""By name: the command, the requests to hold, and the phase with its total."""


@pytest.mark.thorough(each=4)
@pytest.mark.parametrize("name", CASES)
def test_a_command_that_waits_shows_how_far_it_is(run, proxy, name):
    arguments, words, phase, total = CASES[name]
    assert run("backup", "save", "--quiet").end()[0] == 0
    code, expected = run(*arguments, "--quiet").end()
    with held(proxy, words):
        command = run(*arguments)
        command.until(f"{phase}: ")
    found, output = command.end()
    assert found == code
    # The report is the same, except for times and names of archives.
    assert without_numbers(output) == without_numbers(expected)
    assert re.search(rf"{phase}: \d+ of {total} \(\d+%\)", command.err.read_text())


@pytest.mark.thorough
@pytest.mark.parametrize("name", CASES)
def test_a_quiet_command_shows_nothing(run, proxy, name):
    arguments, words, *_ = CASES[name]
    assert run("backup", "save", "--quiet").end()[0] == 0
    other, also, phase, _ = CASES["emergency"]
    with held(proxy, words, also):
        command, loud = run(*arguments, "--quiet"), run(*other)
        loud.until(phase)  # So the quiet one has waited for as long.
    loud.end()
    command.process.wait(PATIENCE)
    assert command.err.read_text() == ""


@pytest.mark.thorough
def test_verify_shows_that_it_waits_for_its_private_server(run):
    assert run("backup", "save", "--quiet").end()[0] == 0
    command = run("backup", "verify", "latest")
    server = eventually(lambda: scratch_server(command.process.pid), "the private server")
    server.suspend()
    command.until(", ")
    server.resume()
    code, output = command.end()
    assert code == 0
    assert "restored and equal" in output


@pytest.mark.thorough
def test_on_a_terminal_it_is_one_line_that_disappears(run, proxy, tmp_path):
    run("backup", "save", "--quiet").end()
    environ = {**os.environ, "VAULT_TOKEN": ROOT_TOKEN, "LESSEE_BACKUP_KEY_FILE": str(tmp_path / "key.txt")}
    with held(proxy, "data/production/some/9"):
        terminal = Terminal(sys.executable, "-m", "lessee", "backup", "save", cwd=tmp_path, env=environ)
        try:
            before = terminal.until("saving secrets: ")
            assert "\n" not in before
            assert "\n" not in terminal.until("no progress for ")
        finally:
            proxy.clear()
    try:
        rest = terminal.until("saved ")
        assert re.search(r"\r +\r$", rest)
        assert "\n" not in rest
    finally:
        terminal.close()


def scratch_server(pid):
    """The server that a verification has started, or None."""
    return next((child for child in psutil.Process(pid).children(recursive=True) if child.name() == "bao"), None)


def without_numbers(text):
    return re.sub(r"\d+", "0", text)
