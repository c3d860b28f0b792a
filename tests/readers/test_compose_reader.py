"""Checks that Docker Compose reads the values of dotenv-compose files, as an env_file and as its own .env."""

import json
import os
import re
import shutil
import subprocess

import pytest

from lessee.rendering.formats import dotenv_compose
from lessee.rendering.formats.variables import UnparsableError
from support.inputs.env_files import amid_junk, as_if, every_value, junk, refused
from support.inputs.hostile_values import VALUES
from support.needs import need

FORMS = [
    ("", "", "", ""),
    ("'", "", "' # it's", ""),
    ('"', "", '"', ""),
    ("x ", "x ", " y # z", " y"),
    ('"\\t\\$5 $$', "\t$5 $", "'\" # x", "'"),
    ("${HOME}/", "/home/of/the/test/", "${NOTHING:-/}", "/"),
]
HOME = "/home/of/the/test"
PIECES = (
    *(
        "'",
        '"',
        "$",
        "$$",
        "${HOME}",
        "$HOME",
        "#",
        " #",
        "\n",
        "\r\n",
        "\\",
        " ",
        "=",
        "\t",
        "A=",
        "B='",
        'C="',
        "\nD=",
    ),
    *("E: ", "'\n", '"\n', "export ", "x", "y\n", "\\n", "\\$", "\\0123", "[", "é", "\u2028", "\ufeff", "${N:-", "}"),
)


REFERENCE = re.compile(r"\$(?:\{(\w+)(?:(:?)([-+])(.*))?\}|(\w+))")


@pytest.fixture
def read(memory):
    """The variables that Compose reads from each of these texts; None if it rejects one of them."""
    version = shutil.which("docker") and subprocess.run(
        ["docker", "compose", "version"], check=False, capture_output=True
    )
    need(version and version.returncode == 0, "needs docker with Compose (Debian: docker-cli docker-compose)")

    def read(*texts):
        services = {}
        for number, text in enumerate(texts):
            (memory / f"{number}.env").write_bytes(text.encode())
            services[f"s{number}"] = {"image": "none", "env_file": [f"{number}.env"]}
        config = compose(memory, services)
        return config and [config[name] for name in services]

    return read


def compose(folder, services):
    """The environment of each service, in which `docker compose config` writes `$$` for a `$`."""
    (folder / "compose.yaml").write_text(json.dumps({"services": services}))
    environ = {"PATH": os.environ["PATH"], "HOME": HOME}
    command = ["docker", "compose", "config", "--format", "json"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, check=False, timeout=60)
    if done.returncode:
        return None
    return {
        name: {key: text.replace("$$", "$") for key, text in service.get("environment", {}).items()}
        for name, service in json.loads(done.stdout)["services"].items()
    }


def test_compose_reads_every_value_of_an_env_file_and_nothing_else(read):
    text, expected = every_value("dotenv-compose", *FORMS)
    assert read(text) == [expected]


@pytest.mark.thorough
@pytest.mark.usefixtures("read")
def test_compose_interpolates_the_whole_value_of_a_variable(memory):
    text, expected = every_value("dotenv-compose", *FORMS)
    (memory / ".env").write_bytes(text.encode())
    environment = {key: f"${{{key}}}" for key in expected}
    assert compose(memory, {"app": {"image": "none", "environment": environment}}) == {"app": expected}


def test_only_a_nul_is_rejected():
    assert refused("dotenv-compose") == {value for value in VALUES if "\0" in value}


def test_no_value_changes_how_compose_reads_the_surrounding_text(read):
    written, harmless, values = zip(*amid_junk("dotenv-compose", 10_000, PIECES), strict=True)
    results = zip(written, read(*written), read(*harmless), values, strict=True)
    assert [text for text, actual, harmless, value in results if actual != as_if(harmless, value)] == []


@pytest.mark.thorough
def test_verification_reads_a_file_as_compose_does(read):
    texts = {text: read_by_lessee(text) for text in junk(10_000, PIECES)}
    valid = [text for text, variables in texts.items() if variables is not None]
    assert [text for text, actual in zip(valid, read(*valid), strict=True) if actual != texts[text]] == []
    invalid = [text for text, variables in texts.items() if variables is None][:40]
    assert [text for text in invalid if read(text) is not None] == []


def read_by_lessee(text):
    """The variables that the verification reads, interpolated with HOME as the only other variable."""
    variables = {}
    try:
        readings = dotenv_compose.read(text)
    except UnparsableError:
        return None
    for name, atoms in readings:
        if atoms is not None:
            variables[name] = interpolate(atoms, {**variables, "HOME": HOME})
        elif name == "HOME":
            variables[name] = HOME
    return variables


def interpolate(atoms, environ):
    return "".join(look_up(atom, environ) if at % 2 else atom for at, atom in enumerate(atoms))


def look_up(reference, environ):
    braced, colon, operator, default, bare = REFERENCE.fullmatch(reference).groups()
    name = braced or bare
    is_set = environ.get(name) if colon else name in environ
    if operator and bool(is_set) == (operator == "+"):
        return interpolate(dotenv_compose.atoms(default), environ)
    return environ.get(name, "")
