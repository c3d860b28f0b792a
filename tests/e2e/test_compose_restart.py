"""An app that handles no signal, on a real Engine: stopped by the agent, restarted by its restart policy."""

import json
import time
from datetime import datetime

import pytest

from e2e.compose import DIRECTORY, fingerprint, up
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def project(pytestconfig):
    with up(pytestconfig, "restart") as project:
        yield project


def test_a_rotated_secret_restarts_the_app_which_reads_it_and_is_seen_to_work(project):
    settled(project, "ready")
    for count in (2, 3):  # its policy is in force after a restart too
        value = project.rotate()
        line = project.until("app", "start:", count)[-1]
        file = file_of(project)
        assert json.loads(file) == {"username": "app", "password": value}
        assert line == f"start: app.json {fingerprint(file)}"
        settled(project, "ready")
    assert len(project.lines("app", "start:")) == 3
    assert project.inspect("app")["RestartCount"] == 2


def test_a_secret_with_which_the_app_does_not_start_is_rolled_back_and_what_follows_is_taken_up(project):
    before = file_of(project)
    project.rotate("")
    project.until("app", "no password", 1)
    settled(project, "rolled_back")
    assert file_of(project) == before
    (problem,) = project.status()["problems"]
    assert "rolled back" in problem
    # Only then does the Engine forget the crashes, after each of which it waits twice as long.
    eventually(lambda: has_run_for(project, 11), "the app's return", patience=40)
    assert project.lines("app", "start: ")[-1].endswith(fingerprint(before))
    value = project.rotate()
    settled(project, "ready")
    assert json.loads(file_of(project))["password"] == value


def has_run_for(project, seconds):
    state = project.inspect("app")["State"]
    return state["Running"] and time.time() - datetime.fromisoformat(state["StartedAt"]).timestamp() > seconds


def settled(project, state):
    def seen():
        app = project.status()["apps"]["app"]
        return app["state"] == state and not app["notify"]["pending"]

    eventually(seen, state, patience=40)


def file_of(project):
    return project.run("agent", "cat", f"{DIRECTORY}/app.json")
