"""A database password that is rotated on a real Engine while an app logs in continuously."""

import ast
import json

import pytest

from e2e.compose import LESSEE
from e2e.postgres import make_image, service_override
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

IMAGE = "lessee-e2e-rotate"
ROTATIONS = 3


@pytest.fixture(scope="module")
def project(images):
    services = {name: {"image": IMAGE, "build": images.build} for name in ("rotator", "app", "setup")}
    services["postgres"] = service_override(make_image(images.engine))
    with images.up("rotation", services) as project:
        yield project


@pytest.mark.thorough
def test_no_login_of_the_app_fails_while_its_password_is_rotated(project):
    eventually(lambda: status(project)["rotation_count"], "the first rotation, which is due immediately")
    for _ in range(ROTATIONS):
        before = status(project)["rotation_count"]
        project.run("rotator", LESSEE, "rotate", "--force", "postgres")
        assert status(project)["rotation_count"] == before + 1
    eventually(lambda: len(project.lines("app", "logins:")) >= ROTATIONS, "logins after the rotations")
    assert set(logins(project)) == {"app_a", "app_b"}
    assert status(project)["unconfirmed_consumers"] == []


@pytest.mark.thorough
def test_a_killed_rotator_resumes_its_rotation(project):
    for _ in range(3):
        project.docker("kill", "--signal", "KILL", project.container("rotator"))
        project.compose("start", "rotator")
    project.run("rotator", LESSEE, "rotate", "--force", "postgres")
    assert set(logins(project)) == {"app_a", "app_b"}
    assert status(project)["step"] == "idle"


def logins(project):
    """The users that the app has logged in as and the errors that it got, each with its count."""
    lines = project.lines("app", "logins:")
    return ast.literal_eval(lines[-1].partition("logins: ")[2]) if lines else {}


def status(project):
    (target,) = json.loads(project.run("rotator", LESSEE, "rotate", "--status", "--json"))["targets"]
    return target
