"""Fixtures of the template library: a sidecar with its templates, and readers of several of them."""

import subprocess
import sys

import pytest

from support.needs import need
from support.programs.sidecar import Sidecar

MEMORY_SERVICE = "mcp-memory-service==12.4.0"


@pytest.fixture
def sidecar(bao, tmp_path, memory):
    agent = Sidecar(bao.address, tmp_path, memory)
    agent.is_forked = True
    yield agent
    agent.close()


@pytest.fixture(scope="session")
def memory_service(tmp_path_factory):
    """The directory with the code of the memory service, which suffices to read its settings."""
    folder = tmp_path_factory.mktemp("memory-service")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, MEMORY_SERVICE]
    done = subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
    need(done.returncode == 0, f"needs {MEMORY_SERVICE} from PyPI")
    return folder
