"""A sidecar and apps that are gone after the test."""

import itertools

import pytest

from sidecar import App, Sidecar

_NUMBERS = itertools.count()


@pytest.fixture
def folder():
    """A KV folder that no other test writes into."""
    return f"t{next(_NUMBERS)}"


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
