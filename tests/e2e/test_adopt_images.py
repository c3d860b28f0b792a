"""`lessee adopt` looks at images without starting them: those of a real Engine, and Dockerfiles without one."""

import time
from types import SimpleNamespace

import pytest

from e2e.engine import BASE
from lessee.ops.adopt.images import LABEL, STARTED, with_images
from lessee.ops.adopt.policy.model import Image
from lessee.ops.adopt.policy.programs import group_of
from support.inputs.adopted_projects import project, service

pytestmark = pytest.mark.docker

NAMED, EMPTY = "lessee-adopt-images-named", "lessee-adopt-images-empty"
DOCKERFILES = {
    NAMED: f"""\
FROM {BASE}
RUN printf '%s\\n' root:x:0:0::/:/bin/sh app:x:1500:1600::/:/bin/sh > /etc/passwd; echo staff:x:50: > /etc/group
USER app
WORKDIR /srv
HEALTHCHECK CMD test -e /ok
STOPSIGNAL SIGQUIT
ENTRYPOINT ["python3", "-m"]
CMD ["app"]
""",
    EMPTY: 'FROM scratch\nCOPY Dockerfile /program\nENTRYPOINT ["/program"]\nHEALTHCHECK NONE\n',
}


@pytest.fixture(scope="module")
def built(engine, tmp_path_factory):
    engine.make_base(BASE)
    for tag, text in DOCKERFILES.items():
        folder = tmp_path_factory.mktemp("image")
        (folder / "Dockerfile").write_text(text)
        engine.make(
            [tag], lambda tag=tag, folder=folder: engine.docker("build", "--network=none", "-t", tag, str(folder))
        )
    return engine


def image_of(engine, folder, **settings):
    return service_of(engine, folder, **settings).image


def service_of(engine, folder, **settings):
    return with_images(project(service(**settings)), folder, engine.environ).services["app"]


def test_an_image_is_known_with_its_shell_and_the_numbers_of_its_user(built, tmp_path):
    found = image_of(built, tmp_path, image=Image(NAMED))
    assert found == Image(
        NAMED,
        entrypoint=("python3", "-m"),
        command=("app",),
        user="app",
        uid=1500,
        gid=1600,
        shell_path="/bin/sh",
        healthcheck=("CMD-SHELL", "test -e /ok"),
        stop_signal="SIGQUIT",
    )
    assert group_of(service_of(built, tmp_path, image=Image(NAMED), user="root:staff")) == 50
    assert built.docker("ps", "--all", "--quiet", "--filter", "label=lessee.adopt=probe") == ""


def test_a_container_that_a_killed_run_left_is_removed_and_one_of_a_run_that_works_stays(built, tmp_path):
    now = int(time.time())
    ages = {"left": now - 3600, "used": now}
    containers = {
        name: built.docker("create", f"--label={LABEL}", f"--label={STARTED}={started}", NAMED).strip()
        for name, started in ages.items()
    }
    try:
        image_of(built, tmp_path, image=Image(EMPTY))
        found = built.docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={LABEL}")
        assert {name for name, container in containers.items() if container in found} == {"used"}
    finally:
        built.docker("rm", "--force", *containers.values(), check=False)


def test_an_image_without_files_has_no_shell(built, tmp_path):
    found = image_of(built, tmp_path, image=Image(EMPTY))
    assert found == Image(EMPTY, entrypoint=("/program",), command=(), uid=0, gid=0, shell_path="")


def test_without_an_engine_a_dockerfile_or_a_name_tells(tmp_path):
    nowhere = SimpleNamespace(environ={"DOCKER_HOST": "unix:///nonexistent"})
    (tmp_path / "web").mkdir()
    (tmp_path / "web/Dockerfile").write_text('FROM node:22\nUSER node\nCMD ["server.js"]\n')
    found = image_of(nowhere, tmp_path, image=Image("p-web"), build_context="web")
    assert (found.entrypoint, found.command, found.user) == (("docker-entrypoint.sh",), ("server.js",), "node")
    assert image_of(nowhere, tmp_path, image=Image("x"), build_context="web", dockerfile="other") == Image("x")
    assert image_of(nowhere, tmp_path, image=Image("postgres")).command == ("postgres",)


def test_an_image_that_is_not_built_yet_continues_one_of_the_engine(built, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {NAMED}\nCMD other\n")
    found = image_of(built, tmp_path, image=Image("lessee-adopt-images-none"), build_context=".")
    assert (found.entrypoint, found.shell_path) == (("python3", "-m"), "/bin/sh")
    assert (found.user, found.gid) == ("app", 1600)
