"""A sidecar, servers to be broken and apps, all gone after the test."""

import itertools

import pytest

from faults import Proxy
from lessee.host.openbao import OpenBao
from sidecar import App, Sidecar

_NUMBERS = itertools.count()


@pytest.fixture
def folder():
    """A KV folder that no other test writes into."""
    return f"t{next(_NUMBERS)}"


@pytest.fixture
def server(tmp_path):
    """A server of the test's own, to be broken."""
    with OpenBao(tmp_path) as bao:
        yield bao


@pytest.fixture
def proxy(server):
    """The weather on the way to it; it also sees who asks what."""
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
