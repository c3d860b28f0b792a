"""Docker Compose itself reads files of the format dotenv-compose, as an env_file and as its own .env."""

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
    """What Compose finds in each of some texts; None where it reads one of them not."""
    found = shutil.which("docker") and subprocess.run(
        ["docker", "compose", "version"], check=False, capture_output=True
    )
    need(found and found.returncode == 0, "needs docker with Compose (Debian: docker-cli docker-compose)")

    def read(*texts):
        services = {}
        for number, text in enumerate(texts):
            (memory / f"{number}.env").write_bytes(text.encode())
            services[f"s{number}"] = {"image": "none", "env_file": [f"{number}.env"]}
        config = compose(memory, services)
        return config and [config[name] for name in services]

    return read


def compose(folder, services):
    """The environment of each service; `config` writes `$$` for a `$`."""
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


def test_a_container_would_get_every_value_and_nothing_else(read):
    text, wanted = every_value("dotenv-compose", *FORMS)
    assert read(text) == [wanted]


@pytest.mark.usefixtures("read")
def test_what_compose_puts_in_place_of_a_variable_is_its_whole_value(memory):
    text, wanted = every_value("dotenv-compose", *FORMS)
    (memory / ".env").write_bytes(text.encode())
    environment = {key: f"${{{key}}}" for key in wanted}
    assert compose(memory, {"app": {"image": "none", "environment": environment}}) == {"app": wanted}


def test_nothing_but_a_nul_is_rejected():
    assert refused("dotenv-compose") == {value for value in VALUES if "\0" in value}


def test_no_value_changes_what_surrounds_it_with_any_text_of_the_author(read):
    written, harmless, values = zip(*amid_junk("dotenv-compose", 10_000, PIECES), strict=True)
    found = zip(written, read(*written), read(*harmless), values, strict=True)
    assert [text for text, had, would, value in found if had != as_if(would, value)] == []


def test_verification_reads_what_compose_reads(read):
    texts = {text: ours(text) for text in junk(10_000, PIECES)}
    fine = [text for text, found in texts.items() if found is not None]
    assert [text for text, found in zip(fine, read(*fine), strict=True) if found != texts[text]] == []
    refused = [text for text, found in texts.items() if found is None][:40]
    assert [text for text in refused if read(text) is not None] == []


def ours(text):
    """What the proof reads, evaluated where HOME alone is set."""
    found = {}
    try:
        readings = dotenv_compose.read(text)
    except UnparsableError:
        return None
    for name, atoms in readings:
        if atoms is not None:
            found[name] = substituted(atoms, {**found, "HOME": HOME})
        elif name == "HOME":
            found[name] = HOME
    return found


def substituted(atoms, environ):
    return "".join(looked_up(atom, environ) if at % 2 else atom for at, atom in enumerate(atoms))


def looked_up(reference, environ):
    braced, colon, operator, default, bare = REFERENCE.fullmatch(reference).groups()
    name = braced or bare
    there = environ.get(name) if colon else name in environ
    if operator and bool(there) == (operator == "+"):
        return substituted(dotenv_compose.atoms(default), environ)
    return environ.get(name, "")
