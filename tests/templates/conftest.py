"""A sidecar over the library of templates, and what reads several of them."""

import subprocess
import sys

import pytest

from support.needs import need
from support.programs.sidecar import Sidecar

MEMORY_SERVICE = "mcp-memory-service==12.4.0"


@pytest.fixture
def sidecar(bao, tmp_path, memory):
    agent = Sidecar(bao.address, tmp_path, memory)
    yield agent
    agent.close()


@pytest.fixture(scope="session")
def memory_service(tmp_path_factory):
    """The folder of its code alone, which is enough to read its settings with."""
    folder = tmp_path_factory.mktemp("memory-service")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, MEMORY_SERVICE]
    done = subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
    need(done.returncode == 0, f"needs {MEMORY_SERVICE} from PyPI")
    return folder
