"""What all tests share: a real OpenBao server, and folders on a real tmpfs."""

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from lessee.host.openbao import OpenBao
from support.durations import Printer, Recorder
from support.needs import need
from support.shared import run_folder
from support.thorough import THOROUGH, Selection

# The same examples in each run, so that coverage is the same too; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
# A mutant's first failure decides; nothing is learned from the smallest example.
settings.register_profile("mutants", settings.get_profile("same"), phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# The apps that the tests start inherit it, and under nohup(1) it would be ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

MEMORY = Path("/dev/shm")


def pytest_addoption(parser):
    parser.addoption("--time-table", action="store_true", help="print how long each folder's tests take, by phase")


def pytest_configure(config):
    if not THOROUGH:
        config.pluginmanager.register(Selection(), "thorough-selection")
    if not config.getoption("--time-table"):
        return
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Printer(), "durations-printer")
    if not config.getoption("numprocesses", None):
        recorder = Recorder()
        recorder.start()
        config.pluginmanager.register(recorder, "durations-recorder")


def pytest_collection_finish():
    # Three thousand tests are there until the end: no collection needs to look at them each time.
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    for item in items:
        # The first that wants an image pays for it.
        if item.get_closest_marker("docker") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from support.scheduling import Sharing  # noqa: PLC0415  # Only -n needs it.

    return Sharing(config, log)


@pytest.fixture(scope="session")
def bao(tmp_path_factory):
    """One server for the whole run; a test that breaks a server starts one of its own."""
    with OpenBao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """One server for the whole run; a test that stops it starts it again."""
    from support.servers.postgres import Postgres, find_initdb  # noqa: PLC0415  # Most runs need no database.

    need(find_initdb(), "needs PostgreSQL: apt install postgresql")
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory):
    """One server for the whole run: one worker has all tests that use it, see `support/scheduling.py`."""
    from support.servers.mariadb import Mariadb  # noqa: PLC0415  # As above.

    with Mariadb(_folder_of_one_worker(tmp_path_factory, "mariadb")) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    """As `mariadb`."""
    from support.servers.rabbitmq import Rabbitmq  # noqa: PLC0415  # As above.

    with Rabbitmq(_folder_of_one_worker(tmp_path_factory, "rabbitmq")) as server:
        yield server


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    """As `mariadb`."""
    from support.servers.ldap_directory import LdapDirectory  # noqa: PLC0415  # As above.

    with LdapDirectory(_folder_of_one_worker(tmp_path_factory, "directory")) as server:
        yield server


def _folder_of_one_worker(tmp_path_factory, name):
    """A folder for a server that no other worker may start too."""
    try:
        (run_folder(tmp_path_factory) / f"{name}-is-started").mkdir()
    except FileExistsError:
        pytest.fail(f"another worker has started {name}: support/scheduling.py must give this test to that one")
    return tmp_path_factory.mktemp(name)


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """The Docker Engine of all workers, which starts with the first test that needs it."""
    from e2e.engine import missing_requirement, shared_engine  # noqa: PLC0415  # Most runs need no Engine.

    missing = missing_requirement()
    need(missing is None, f"needs {missing}")
    with shared_engine(run_folder(tmp_path_factory)) as engine:
        yield engine


@pytest.fixture
def memory():
    """A folder on tmpfs, gone after the test."""
    need(os.access(MEMORY, os.W_OK), "needs a writable tmpfs at /dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="lessee-test-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
