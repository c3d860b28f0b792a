"""A database's password, rotated on a real Engine while an app logs in to it all the time."""

import ast
import json

import pytest

from e2e.compose import LESSEE, images, up
from e2e.postgres import make_image, server
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

POSTGRES = "lessee-e2e-postgres"
TURNS = 6


@pytest.fixture(scope="module")
def project(pytestconfig):
    made = images(pytestconfig)
    make_image(made.engine, POSTGRES)
    own = {name: {"image": "lessee-e2e-rotate", "build": made.build} for name in ("rotator", "app", "setup")}
    try:
        with up(pytestconfig, "rotation", {**own, "postgres": server(POSTGRES)}) as project:
            yield project
    finally:
        made.engine.remove(POSTGRES, "lessee-e2e-rotate")


def test_an_app_that_logs_in_all_the_time_never_fails_while_its_password_is_rotated(project):
    eventually(lambda: status(project)["rotation_count"], "the first rotation, which is due immediately", patience=40)
    for _ in range(TURNS):
        before = status(project)["rotation_count"]
        project.run("rotator", LESSEE, "rotate", "--force", "postgres")
        assert status(project)["rotation_count"] == before + 1
    eventually(lambda: len(project.lines("app", "logins:")) >= TURNS, "the app to have seen them")
    assert set(logins(project)) == {"app_a", "app_b"}
    assert status(project)["unconfirmed_consumers"] == []


def test_a_killed_rotator_resumes_its_rotation(project):
    for _ in range(3):
        project.docker("kill", "--signal", "KILL", project.container("rotator"))
        project.compose("start", "rotator")
    project.run("rotator", LESSEE, "rotate", "--force", "postgres")
    assert set(logins(project)) == {"app_a", "app_b"}
    assert status(project)["step"] == "idle"


def logins(project):
    """As whom it has logged in, and what went wrong, each with how often."""
    lines = project.lines("app", "logins:")
    return ast.literal_eval(lines[-1].partition("logins: ")[2]) if lines else {}


def status(project):
    (target,) = json.loads(project.run("rotator", LESSEE, "rotate", "--status", "--json"))["targets"]
    return target
