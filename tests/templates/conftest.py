"""A sidecar over the library of templates, gone after the test."""

import pytest

from sidecar import Sidecar


@pytest.fixture
def sidecar(bao, tmp_path, memory):
    agent = Sidecar(bao.address, tmp_path, memory)
    yield agent
    agent.close()
