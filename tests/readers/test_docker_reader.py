"""Checks that a real container gets the values of files in the formats dotenv-docker and dotenv-compose."""

import base64
import json
import re

import pytest

from e2e.engine import SHELL
from lessee.rendering.formats import dotenv_docker
from lessee.rendering.formats.variables import UnparsableError
from support.inputs.env_files import amid_junk, as_if, every_value, junk

pytestmark = pytest.mark.docker

BASE = "lessee-readers-base"
# Prints the container's environment from the kernel, without a shell.
PRINT_ENVIRONMENT = ("base64", "--wrap=0", "/proc/self/environ")
LINES = ("A=", "B", "=", " ", "\t", "\n", "\r\n", "\r", "\ufeff", "\x85", "\u3000", "#", "\x0b", "é", "'")
SET_BY_DOCKER = {"PATH", "HOSTNAME", "HOME"}


@pytest.fixture(scope="module")
def engine(engine):
    engine.make_base(BASE, *SHELL)
    return engine


@pytest.fixture(scope="module")
def read_environments(engine, tmp_path_factory):
    """The variables of a container created with each of these texts; None if docker rejects the text."""
    path = tmp_path_factory.mktemp("docker") / "app.env"

    def create(text):
        path.write_bytes(text.encode())
        output = engine.docker("create", f"--env-file={path}", BASE, "true", check=False).strip()
        return output if re.fullmatch("[0-9a-f]{64}", output) else None

    def read_environments(texts):
        names = [create(text) for text in texts]
        ids = [which for which in names if which]
        containers = json.loads(engine.docker("inspect", *ids))
        pairs = {container["Id"]: container["Config"]["Env"] or () for container in containers}
        engine.docker("rm", *ids)
        return [which and dict(pair.split("=", 1) for pair in pairs[which]) for which in names]

    return read_environments


@pytest.mark.thorough
def test_a_container_gets_every_value_and_nothing_else(engine, tmp_path):
    text, expected = every_value("dotenv-docker", ("", "", "", ""), (" '", " '", "' # ", "' # "))
    (tmp_path / "app.env").write_bytes(text.encode())
    output = engine.docker("run", "--rm", "--network=none", f"--env-file={tmp_path}/app.env", BASE, *PRINT_ENVIRONMENT)
    assert environment(output) == expected


def test_a_container_of_compose_gets_every_value_and_nothing_else(engine, tmp_path):
    text, expected = every_value("dotenv-compose", ("", "", "", ""), ('"', "", "\" # it's", ""))
    (tmp_path / "app.env").write_bytes(text.encode())
    app = {"image": BASE, "network_mode": "none", "env_file": ["app.env"], "command": PRINT_ENVIRONMENT}
    (tmp_path / "compose.yaml").write_text(json.dumps({"name": "lessee-readers", "services": {"app": app}}))
    output = engine.docker("compose", "-f", f"{tmp_path}/compose.yaml", "run", "--rm", "--no-TTY", "app")
    assert environment(output) == expected


def environment(output):
    pairs = base64.b64decode(output.splitlines()[-1]).decode().split("\0")[:-1]
    variables = dict(pair.split("=", 1) for pair in pairs)
    return {name: value for name, value in variables.items() if name not in SET_BY_DOCKER}


def test_no_value_changes_how_docker_reads_the_surrounding_text(read_environments):
    written, harmless, values = zip(*amid_junk("dotenv-docker", 150), strict=True)
    results = zip(written, read_environments(written), read_environments(harmless), values, strict=True)
    assert [text for text, actual, harmless, value in results if actual != as_if(harmless, value)] == []


def test_verification_reads_a_file_as_docker_does(read_environments):
    longest = "A=" + "x" * 65_533
    texts = [*junk(50), *junk(50, LINES), longest, f" {longest}", f"{longest}\r\n", f"{longest[:-1]}\r\n"]
    assert [
        text for text, actual in zip(texts, read_environments(texts), strict=True) if actual != read_by_lessee(text)
    ] == []


def read_by_lessee(text):
    try:
        return {name: value[0] for name, value in dotenv_docker.read(text) if value is not None}
    except UnparsableError:
        return None
