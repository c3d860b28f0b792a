"""An app that handles no signal, on a real Engine: the agent stops it, and its restart policy starts it again."""

import json
import time
from datetime import datetime

import pytest

from e2e.compose import DIRECTORY, fingerprint
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def project(images):
    with images.up("restart") as project:
        yield project


@pytest.mark.thorough
def test_a_rotated_secret_restarts_the_app_which_reads_it_and_becomes_ready(project):
    wait_for_state(project, "ready")
    for count in (2, 3):  # The restart policy still applies after a restart.
        value = project.rotate()
        line = project.wait_for_lines("app", "start:", count)[-1]
        file = app_json(project)
        assert json.loads(file) == {"username": "app", "password": value}
        assert line == f"start: app.json {fingerprint(file)}"
        wait_for_state(project, "ready")
    assert len(project.lines("app", "start:")) == 3
    assert project.inspect("app")["RestartCount"] == 2


def test_a_secret_with_which_the_app_does_not_start_is_rolled_back_and_the_next_one_is_published(project):
    wait_for_state(project, "ready")  # Before that there are no files to return to.
    before = app_json(project)
    project.rotate("")
    project.wait_for_lines("app", "no password", 1)
    wait_for_state(project, "rolled_back")
    assert app_json(project) == before
    (problem,) = project.status()["problems"]
    assert "rolled back" in problem
    # After ten seconds the Engine resets its restart delay, which doubles with each crash.
    eventually(lambda: has_run_for(project, 11), "an app that runs")
    assert project.lines("app", "start: ")[-1].endswith(fingerprint(before))
    value = project.rotate()
    wait_for_state(project, "ready")
    assert json.loads(app_json(project))["password"] == value


def has_run_for(project, seconds):
    state = project.inspect("app")["State"]
    return state["Running"] and time.time() - datetime.fromisoformat(state["StartedAt"]).timestamp() > seconds


def wait_for_state(project, state):
    def has_state():
        app = project.status()["apps"]["app"]
        return app["state"] == state and not app["notify"]["pending"]

    eventually(has_state, f"state {state}")


def app_json(project):
    return project.read("agent", f"{DIRECTORY}/app.json")
