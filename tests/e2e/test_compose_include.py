"""The Compose file that a project includes, on a real Engine: the project's own lines are few."""

import pytest

from e2e.compose import AGENT, DIRECTORY, fingerprint

pytestmark = pytest.mark.docker


def test_a_project_that_includes_the_agent_gets_its_files_and_a_rotation(images, tmp_path):
    identity = tmp_path / "identity"
    identity.mkdir(0o700)
    with images.up("include", LESSEE_IMAGE=AGENT, LESSEE_IDENTITY=str(identity)) as project:
        assert project.wait_for_lines("app", "start: app.env", 1)
        value = project.rotate()
        line = project.wait_for_lines("app", "SIGHUP: app.env", 1)[-1]
        file = project.read("app", f"{DIRECTORY}/app.env")
        assert value in file
        assert line == f"SIGHUP: app.env {fingerprint(file)}"
