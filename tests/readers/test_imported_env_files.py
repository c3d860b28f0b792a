"""What `lessee import` makes of an env file gives its real reader the same variables, with the same bytes."""

import ctypes
import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from dotenv import dotenv_values

from e2e.engine import SHELL
from lessee.core.errors import FormatError
from lessee.ops.adopt.policy.env_config import EnvApp, config_of, new_config
from lessee.ops.adopt.policy.env_plan import Options, plan
from lessee.ops.adopt.policy.env_readers import DEFAULT, READERS
from lessee.ops.adopt.policy.env_rendering import verified
from lessee.rendering.formats.literals import literals
from support import npm
from support.inputs import env_files
from support.inputs.env_files import PIECES, junk
from support.inputs.hostile_values import VALUES
from support.needs import need
from support.thorough import sampled

BASE = "lessee-imported-base"
LINES = ("A=", "B", "=", "x", "\n", "\r\n", "\r", "\ufeff", "\u3000", "#", "\x0b", "é", "'", "\nC=", "\nD='")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
HOME = "/home/of/the/test"
CONFIGS = {
    name: config_of(new_config("testing", None, EnvApp("a", "a.env.j2", ".env", name)), "f", "a", {})
    for reader in READERS.values()
    for name in reader.formats
}
FORMS = {
    "python-dotenv": [("", "", "", ""), ("'", "", "' # it's", ""), ('"', "", '"', "")],
    "compose": [("", "", "", ""), ("'", "", "' # it's", ""), ('"', "", '"', "")],
    "node": [("", "", "", ""), ("'", "", "' # it's", ""), ('"', "", '"', ""), ("  `", "", "`  ", "")],
    "vite": [("", "", "", ""), ("'", "", "'", ""), ('"', "", '"', "")],
    "docker": [("", "", "", ""), (" '", " '", "' # ", "' # ")],
    "sh": [("", "", "", ""), ("'", "", "'", ""), ('x"', "x", '"  # c', "")],
    "systemd": [("", "", "", ""), ("'x", "x", "'\\ ", " "), ('"', "", '"', "")],
}
"""What users write around a value, and what it means."""


def imported(text, reader):
    """The rendered file of the import, with each variable a secret; None if a person has to decide something."""
    try:
        names = {one.name for name in reader.formats for one in literals(text, name)}
        planned = plan(text, "f", reader, Options("a", secret=frozenset(names)))
        return verified(text, planned, reader, "f", {name: CONFIGS[name] for name in reader.formats}).text
    except FormatError:
        return None


@cache
def pairs(reader, count, pieces=PIECES):
    """Random files that the import takes, and what becomes of them."""
    made = [(text, imported(text, reader)) for text in junk(count, pieces)]
    taken = [(text, after) for text, after in made if after is not None]
    assert len(taken) > count // 10
    return taken


@cache
def written(name):
    """A file with each hostile value in the quotes of some user, what they mean, and the imported file."""
    format, forms, parts, wanted = READERS[name].formats[0], FORMS[name], [], {}  # noqa: A001
    for number, value in enumerate(VALUES):
        for form in (*forms[number % len(forms) :], *forms[: number % len(forms)]):
            before, meant_before, after, meant_after = form
            if env_files.written(format, f"A={before}", [value], f"{after}\n") is not None:
                parts += [f"V{number}={before}", [value], f"{after}\n"]
                wanted[f"V{number}"] = f"{meant_before}{value}{meant_after}"
                break
    text = env_files.written(format, *parts)
    after = imported(text, READERS[name])
    assert after is not None
    assert len(wanted) > len(VALUES) // 2
    return text, wanted, after


def in_file(path, text):
    path.write_bytes(text.encode())
    return path


def python_dotenv(folder, text):
    found = dotenv_values(in_file(folder / "app.env", text))
    return {name: value for name, value in found.items() if value is not None}


@pytest.fixture
def compose(memory):
    """The variables that Compose reads from each of these texts."""
    version = shutil.which("docker") and subprocess.run(
        ["docker", "compose", "version"], check=False, capture_output=True
    )
    need(version and version.returncode == 0, "needs docker with Compose (Debian: docker-cli docker-compose)")

    def read(texts):
        services = {}
        for number, text in enumerate(texts):
            in_file(memory / f"{number}.env", text)
            services[f"s{number}"] = {"image": "none", "env_file": [f"{number}.env"]}
        (memory / "compose.yaml").write_text(json.dumps({"services": services}))
        done = subprocess.run(
            ["docker", "compose", "config", "--format", "json"],
            cwd=memory,
            env={"PATH": os.environ["PATH"], "HOME": HOME},
            capture_output=True,
            check=True,
            timeout=60,
        )
        found = json.loads(done.stdout)["services"]
        return [
            {key: value.replace("$$", "$") for key, value in found[name].get("environment", {}).items()}
            for name in services
        ]

    return read


def node(library, texts):
    """The variables that node, or npm's dotenv, reads from each of these texts."""
    parse = "process.argv[1] === 'node' ? require('util').parseEnv : require(process.argv[1]).parse"
    program = f"const p = {parse}; const t = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    command = [npm.program(npm.packages(), "node"), "-e", f"{program} console.log(JSON.stringify(t.map((x) => p(x))))"]
    done = subprocess.run(
        [*command, library],
        cwd=npm.packages(),
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def shell(command, path):
    """The variables that a shell exports after `. FILE`; None if it fails."""
    script = f'set -a; . "$0" && exec {shutil.which("env")} -0'
    done = subprocess.run(
        [shutil.which(command[0]), *command[1:], "-c", script, path],
        env={"PATH": "/nonexistent", "H": "h"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=30,
    )
    found = dict(one.split(b"=", 1) for one in done.stdout.split(b"\0")[:-1])
    return (
        done.returncode,
        {name: value for name, value in found.items() if name not in {b"_", b"OLDPWD", b"PWD", b"SHLVL"}},
    )


@pytest.fixture(scope="module")
def systemd(tmp_path_factory):
    """A function that parses a file with systemd."""
    folders = ("usr/lib/*/systemd", "usr/lib64/systemd", "usr/lib/systemd")
    paths = [path for folder in folders for path in Path("/").glob(f"{folder}/libsystemd-shared-*.so")]
    recent = [path for path in paths if int(re.search(r"\d+", path.stem)[0]) >= 254]
    need(recent, "needs systemd 254 or later (Debian: apt-get install systemd)")
    load = ctypes.CDLL(recent[0]).load_env_file
    load.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.POINTER(ctypes.c_char_p))]
    path = tmp_path_factory.mktemp("systemd") / "app.env"

    def read(text):
        found = ctypes.POINTER(ctypes.c_char_p)()
        if load(None, bytes(in_file(path, text)), ctypes.byref(found)) < 0:
            return None
        lines = []
        while found and found[len(lines)] is not None:
            lines.append(found[len(lines)].decode())
        # A service gets no variable with another name.
        return dict(line.split("=", 1) for line in lines if NAME.match(line))

    return read


def test_python_dotenv_reads_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", HOME)
    text, wanted, after = written("python-dotenv")
    assert python_dotenv(tmp_path, text) == python_dotenv(tmp_path, after) == wanted


def test_compose_reads_the_same(compose):
    text, wanted, after = written("compose")
    assert compose([text, after]) == [wanted, wanted]


@pytest.mark.parametrize("library", ["node", "dotenv-16", "dotenv-17", "dotenv-18"])
def test_node_reads_the_same(library):
    text, wanted, after = written("node")
    assert node(library, [text, after]) == [wanted, wanted]


@pytest.mark.thorough
@pytest.mark.parametrize("command", [["dash"], ["bash"], ["busybox", "ash"]], ids=lambda words: words[0])
def test_shells_read_the_same(tmp_path, command):
    need(shutil.which(command[0]), f"needs {command[0]} (Debian: apt-get install {command[0]})")
    text, wanted, after = written("sh")
    before, found = (shell(command, in_file(tmp_path / "app.env", one)) for one in (text, after))
    assert before == found
    wanted = {name.encode(): value.encode() for name, value in wanted.items()}
    assert found == (0, {b"PATH": b"/nonexistent", b"H": b"h", **wanted})


def test_systemd_reads_the_same(systemd):
    text, wanted, after = written("systemd")
    assert systemd(text) == systemd(after) == wanted


def test_random_files_mean_the_same_to_python_dotenv(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", HOME)
    for text, after in pairs(READERS["python-dotenv"], 400):
        assert python_dotenv(tmp_path, text) == python_dotenv(tmp_path, after), text


def test_random_files_mean_the_same_to_compose(compose):
    before, after = zip(*pairs(READERS["compose"], 400), strict=True)
    assert compose(before) == compose(after)


@pytest.mark.parametrize("library", ["node", "dotenv-16", "dotenv-17", "dotenv-18"])
def test_random_files_mean_the_same_to_node(library):
    # A name of blanks alone makes an old node read what lies before its text.
    before, after = zip(*pairs(READERS["node"], 400), strict=True)
    assert node(library, before) == node(library, after)


def test_random_files_mean_the_same_to_systemd(systemd):
    for text, after in pairs(READERS["systemd"], 400):
        assert systemd(text) == systemd(after), text


def test_random_files_mean_the_same_to_a_shell(tmp_path):
    for text, after in pairs(READERS["sh"], 500):
        before, found = (shell(["dash"], in_file(tmp_path / "app.env", one)) for one in (text, after))
        assert before == found, text


def test_random_files_that_two_programs_read_mean_the_same_to_both(compose, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", HOME)
    before, after = zip(*pairs(DEFAULT, 1000), strict=True)
    assert compose(before) == compose(after)
    for text, rendered in zip(before, after, strict=True):
        assert python_dotenv(tmp_path, text) == python_dotenv(tmp_path, rendered), text


@pytest.mark.thorough
@pytest.mark.docker
def test_containers_get_the_same_of_env_files_of_docker(engine, tmp_path):
    engine.make_base(BASE, *SHELL)
    text, wanted, after = written("docker")
    texts = [text, after]
    for one in sampled(pairs(READERS["docker"], 200, LINES), of=4, key="docker"):
        texts += one
    assert (before := read(engine, tmp_path, texts))[::2] == before[1::2]
    assert before[0] == wanted


def read(engine, folder, texts):
    """The variables of a container of each of these env files, besides those of its image."""
    paths = [in_file(folder / f"{number}.env", text) for number, text in enumerate(texts)]
    names = [engine.docker("create", f"--env-file={path}", BASE, "true").strip() for path in paths]
    found = [engine.inspect(name)["Config"]["Env"] or () for name in names]
    engine.docker("rm", *names)
    return [{name: value for name, _, value in (pair.partition("=") for pair in pairs)} for pairs in found]
