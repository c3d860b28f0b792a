"""A sidecar, servers to be broken and apps, all gone after the test."""

import itertools
import os
import tempfile
from pathlib import Path

import pytest

from e2e.compose import Images, build_wheels
from lessee.host.openbao import OpenBao
from support.environments.backups import Backups, fill, fill_secrets
from support.programs.distribution import make_dist
from support.programs.sidecar import App, Sidecar
from support.servers.fault_proxy import Proxy
from support.shared import locked, run_folder

MEMORY = "/dev/shm"
_NUMBERS = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def forked_agents(request):
    """Agents of a file with `FORKED_AGENTS = True` are forked, see `Sidecar.is_forked`."""
    Sidecar.is_forked = getattr(request.module, "FORKED_AGENTS", False)
    yield
    Sidecar.is_forked = False


@pytest.fixture
def folder():
    """A KV folder that no other test writes into; and no app of another worker is called after it."""
    # An app's name may have 15 letters; a pid has up to 7.
    return f"t{os.getpid()}{next(_NUMBERS):03}"


@pytest.fixture
def server(tmp_path):
    """A server of the test's own, to be broken."""
    with OpenBao(tmp_path) as bao:
        yield bao


@pytest.fixture
def proxy(server):
    """A proxy that injects faults on the way to it, and records requests."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def sidecar(bao, tmp_path, memory):
    agent = Sidecar(bao.address, tmp_path, memory)
    yield agent
    agent.close()


@pytest.fixture
def app():
    apps = []

    def start(*arguments, **settings):
        apps.append(App(*arguments, **settings))
        return apps[-1]

    yield start
    for one in apps:
        one.close()


@pytest.fixture(scope="module")
def module_memory():
    """A folder on tmpfs for what the tests of a file share; its name is no other file's."""
    with tempfile.TemporaryDirectory(prefix="lessee-test-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """`wheels` of lessee and of what it needs, and the `source` of lessee's; all workers have the same."""
    made = run_folder(tmp_path_factory) / "built"
    with locked(made.with_suffix(".lock")):
        if not made.exists():
            fresh = tmp_path_factory.mktemp("built")
            build_wheels(fresh)
            fresh.rename(made)
    return made


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """What `make dist` makes, for the system's Python; all workers have the same."""
    made = run_folder(tmp_path_factory) / "dist"
    with locked(made.with_suffix(".lock")):
        if not made.exists():
            make_dist(tmp_path_factory.mktemp("made") / "dist").rename(made)
    return made


@pytest.fixture(scope="session")
def images(engine, tmp_path_factory, request):
    """The images of the agent and of a server, and those that a test adds; all workers have the same."""
    wheels = None if os.environ.get("BASE_IMAGE") else request.getfixturevalue("built") / "wheels"
    return Images(engine, tmp_path_factory.mktemp("images"), wheels)


# What backups are tried on.


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A server with a bit of everything; no test writes to it."""
    with OpenBao(tmp_path_factory.mktemp("full")) as server:
        fill(server)
        yield server


@pytest.fixture
def empty(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("empty")) as server:
        yield server


@pytest.fixture
def small(empty):
    """A server whose secrets may be changed."""
    fill_secrets(empty)
    return empty


@pytest.fixture
def make(tmp_path, memory):
    def make(server, **block):
        return Backups(server.address, tmp_path, memory, **block)

    return make
