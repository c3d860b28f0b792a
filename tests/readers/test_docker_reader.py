"""A real container gets the values of files in the formats dotenv-docker and dotenv-compose."""

import base64
import json
import re

import pytest

from e2e.engine import SHELL, shared
from lessee.rendering.formats import dotenv_docker
from lessee.rendering.formats.variables import UnparsableError
from support.inputs.env_files import amid_junk, as_if, every_value, junk

pytestmark = pytest.mark.docker

BASE = "lessee-readers-base"
# Without a shell: the kernel returns the container's environment.
SHOW = ("base64", "--wrap=0", "/proc/self/environ")
LINES = ("A=", "B", "=", " ", "\t", "\n", "\r\n", "\r", "\ufeff", "\x85", "\u3000", "#", "\x0b", "é", "'")
OF_ITS_OWN = {"PATH", "HOSTNAME", "HOME"}


@pytest.fixture(scope="module")
def engine(pytestconfig):
    running = shared(pytestconfig)
    running.make_base(BASE, *SHELL)
    return running


@pytest.fixture(scope="module")
def created(engine, tmp_path_factory):
    """The variables of a container for each of some texts; None where docker refuses the text."""
    path = tmp_path_factory.mktemp("docker") / "app.env"

    def create(text):
        path.write_bytes(text.encode())
        created = engine.docker("create", f"--env-file={path}", BASE, "true", fine=False).strip()
        return created if re.fullmatch("[0-9a-f]{64}", created) else None

    def created(texts):
        names = [create(text) for text in texts]
        made = [name for name in names if name]
        pairs = {one["Id"]: one["Config"]["Env"] or () for one in json.loads(engine.docker("inspect", *made))}
        engine.docker("rm", *made)
        return [name and dict(pair.split("=", 1) for pair in pairs[name]) for name in names]

    return created


def test_a_container_gets_every_value_and_nothing_else(engine, tmp_path):
    text, wanted = every_value("dotenv-docker", ("", "", "", ""), (" '", " '", "' # ", "' # "))
    (tmp_path / "app.env").write_bytes(text.encode())
    shown = engine.docker("run", "--rm", "--network=none", f"--env-file={tmp_path}/app.env", BASE, *SHOW)
    assert environment(shown) == wanted


def test_a_container_of_compose_gets_every_value_and_nothing_else(engine, tmp_path):
    text, wanted = every_value("dotenv-compose", ("", "", "", ""), ('"', "", "\" # it's", ""))
    (tmp_path / "app.env").write_bytes(text.encode())
    app = {"image": BASE, "network_mode": "none", "env_file": ["app.env"], "command": SHOW}
    (tmp_path / "compose.yaml").write_text(json.dumps({"name": "lessee-readers", "services": {"app": app}}))
    shown = engine.docker("compose", "-f", f"{tmp_path}/compose.yaml", "run", "--rm", "--no-TTY", "app")
    assert environment(shown) == wanted


def environment(shown):
    pairs = base64.b64decode(shown.splitlines()[-1]).decode().split("\0")[:-1]
    found = dict(pair.split("=", 1) for pair in pairs)
    return {name: value for name, value in found.items() if name not in OF_ITS_OWN}


def test_no_value_changes_what_surrounds_it_with_any_text_of_the_author(created):
    written, harmless, values = zip(*amid_junk("dotenv-docker", 150), strict=True)
    found = zip(written, created(written), created(harmless), values, strict=True)
    assert [text for text, had, would, value in found if had != as_if(would, value)] == []


def test_verification_reads_what_docker_reads(created):
    longest = "A=" + "x" * 65_533
    texts = [*junk(50), *junk(50, LINES), longest, f" {longest}", f"{longest}\r\n", f"{longest[:-1]}\r\n"]
    assert [text for text, found in zip(texts, created(texts), strict=True) if found != ours(text)] == []


def ours(text):
    try:
        return {name: value[0] for name, value in dotenv_docker.read(text) if value is not None}
    except UnparsableError:
        return None
