"""The image of agent and rotator that `lessee adopt` builds from its own installation, on a real Engine."""

import subprocess

import pytest

from e2e.compose import AGENT
from e2e.engine import BASE, PYTHON
from lessee.core.errors import UsageError
from lessee.ops.adopt import agent_image
from lessee.ops.adopt.agent_image import AgentImage, build, find_image
from lessee.ops.adopt.stack import Stack, StackError
from support.paths import ROOT

pytestmark = pytest.mark.docker

NAME = "lessee-e2e-own-image"
# What `lessee adopt` does with the image, in the Python that has lessee.
_ADOPT = """
import os, sys
from pathlib import Path
from lessee.ops.adopt import agent_image
from lessee.ops.adopt.agent_image import build, find_image
from lessee.ops.adopt.stack import Stack
stack = Stack(Path("/"), "", (), os.environ)
image = find_image(stack, sys.argv[1], may_build=True, rotates=sys.argv[3] == "rotates", base=sys.argv[2])
print(*image.lines(), sep="\\n")
image.require()
os.umask(0o077)
build(stack, image, print)
"""


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Python of a venv with lessee and the extra `rotate`, as pip installs them."""
    venv = tmp_path_factory.mktemp("own") / "venv"
    subprocess.run([PYTHON, "-m", "venv", venv], check=True)
    offline = ("--no-index", "--find-links", built / "wheels")
    command = [venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *offline]
    subprocess.run([*command, "lessee[rotate]"], check=True)
    return venv / "bin/python"


@pytest.fixture
def stack(engine, tmp_path):
    return Stack(tmp_path, "", (), engine.environ)


def adopt(engine, python, *, base=BASE, rotates=False):
    command = [python, "-c", _ADOPT, NAME, base, "rotates" if rotates else ""]
    done = subprocess.run(command, env=engine.environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_an_image_is_built_once_for_an_installation_and_again_for_another(engine, images, installed):  # noqa: ARG001  # It needs the base.
    try:
        code, said = adopt(engine, installed, rotates=True)
        assert (code, said.splitlines()) == (
            0,
            [
                "an image that adopt builds, because the Engine has none:",
                f"  + {NAME}: this installation of lessee and the clients of stores, on {BASE}",
                f"building the image {NAME}",
            ],
        )
        # Any user can run it, read-only and without a network, and it imports what rotations need.
        run = ("run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--user=12345:12345")
        clients = "import lessee.cli, psycopg, pymysql, redis, botocore.session, minio; print('all')"
        assert "all" in engine.docker(*run, "--entrypoint=/opt/lessee/bin/python", NAME, "-c", clients)
        versions = [engine.docker(*run, name, "--version") for name in (NAME, AGENT)]
        assert versions[0] == versions[1]
        shown = "{{json .Config.User}} {{json .Config.Entrypoint}} {{json .Config.Cmd}} {{json .Config.Healthcheck}}"
        settings = [engine.docker("image", "inspect", "--format", shown, name) for name in (NAME, AGENT)]
        assert settings[0] == settings[1]
        assert str(installed.parent) not in engine.docker("history", "--no-trunc", NAME)
        assert adopt(engine, installed, rotates=True) == (0, "\n")
        # After an update of lessee.
        [package] = installed.parent.parent.glob("lib/python*/site-packages/lessee")
        (package / "new.py").write_text("")
        code, said = adopt(engine, installed)
        assert (code, "because the Engine's is of another version" in said) == (0, True)
        engine.docker(*run, "--entrypoint=/opt/lessee/bin/python", NAME, "-c", "import lessee.new")
    finally:
        engine.docker("image", "rm", "--force", NAME, check=False)


def test_a_base_image_with_another_python_is_refused(stack, images, monkeypatch):  # noqa: ARG001  # It needs the base.
    monkeypatch.setattr(agent_image.sysconfig, "get_config_var", lambda _: ".cpython-39-riscv64.so")
    image = AgentImage(NAME, base=BASE, reason="x")
    with pytest.raises(StackError, match=r"its Python loads .*, and this installation has \.cpython-39-riscv64\.so"):
        build(stack, image, print)


def test_an_image_that_a_user_names_is_not_built(stack, images):  # noqa: ARG001  # It needs the agent's.
    found = find_image(stack, "lessee-e2e-nowhere", may_build=False, rotates=True, base=None)
    with pytest.raises(UsageError, match=r"the Engine has none; .* `docker build -f .*EXTRAS=rotate -t lessee-e2e-now"):
        found.require()
    assert list(found.lines()) == []
    without = find_image(stack, AGENT, may_build=False, rotates=True, base=None)
    with pytest.raises(UsageError, match="has no clients of stores"):
        without.require()
    assert find_image(stack, AGENT, may_build=False, rotates=False, base=None) == AgentImage(AGENT)


def test_a_base_image_that_cannot_be_had_is_named(stack):
    image = AgentImage("lessee-e2e-nowhere", base="lessee-e2e.invalid/none:1", reason="x")
    with pytest.raises(StackError, match="`docker build` failed"):
        build(stack, image, print)


def test_both_dockerfiles_end_alike():
    ends = [
        (ROOT / name).read_text().partition("\n# A uid of its own")[2]
        for name in ("compose/Dockerfile", "agent/lessee/ops/adopt/Dockerfile")
    ]
    assert ends[0] == ends[1] != ""
