"""PgBouncer on a real Engine: an app without a password or a network, while the password behind is rotated."""

import json
import shutil

import pytest

from e2e.compose import LESSEE
from e2e.engine import SHELL
from e2e.postgres import make_image, service_override
from support.needs import need
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

IMAGE, PGBOUNCER = "lessee-e2e-rotate", "lessee-e2e-pgbouncer"
ROTATIONS = 2


@pytest.fixture(scope="module")
def project(images):
    need(shutil.which("pgbouncer"), "needs PgBouncer to make an image: apt install pgbouncer")
    images.engine.make_base(PGBOUNCER, *SHELL, "pgbouncer")
    services = {name: {"image": IMAGE, "build": images.build} for name in ("rotator", "app", "setup", "agent")}
    services["postgres"] = service_override(make_image(images.engine))
    with images.up("pgbouncer", services, PGBOUNCER_IMAGE=PGBOUNCER) as project:
        yield project


@pytest.mark.thorough
def test_an_app_without_a_password_keeps_its_connections_over_rotations(project):
    eventually(lambda: project.lines("app", "user:"), "the app's first query")
    for _ in range(ROTATIONS):
        before = status(project)["rotation_count"]
        project.run("rotator", LESSEE, "rotate", "--force", "postgres")
        assert status(project)["rotation_count"] == before + 1
        assert status(project)["unconfirmed_consumers"] == []
    eventually(lambda: set(counts(project)["users"]) == {"app_a", "app_b"}, "queries of both roles")
    assert (counts(project)["failed"], counts(project)["connections"]) == (0, 8)


@pytest.mark.thorough
def test_nothing_of_the_app_has_the_password(project):
    text = project.run("pgbouncer", "cat", "/run/secrets/app/databases.ini")
    password = text.rpartition("password='")[2].partition("'")[0]
    assert len(password) == 40
    app = project.inspect("app")
    assert app["HostConfig"]["NetworkMode"] == "none"
    seen = [json.dumps(app), *(project.compose("logs", name) for name in ("app", "pgbouncer", "agent", "rotator"))]
    assert not [text for text in seen if password in text]
    searched = project.run("app", "sh", "-c", "cat /proc/*/environ /run/secrets/* /app/* 2>/dev/null || true")
    assert password not in searched


def counts(project):
    lines = project.lines("app", '"queries"')
    return json.loads(lines[-1]) if lines else {"users": {}}


def status(project):
    (target,) = json.loads(project.run("rotator", LESSEE, "rotate", "--status", "--json"))["targets"]
    return target
