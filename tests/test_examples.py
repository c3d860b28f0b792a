"""The agents of compose/ have users of their own, and limits of memory and processes."""

import configparser
import re
from pathlib import PurePosixPath

import pytest
import yaml

from lessee.core.errors import ConfigError
from lessee.ops.lint.policy.compose.rules import check_compose
from lessee.ops.lint.policy.project import check_project
from support.paths import ROOT

COMPOSE = ROOT / "compose"
STACKS = sorted(COMPOSE.glob("*/compose.yaml"))
MIB = {"m": 1, "M": 1, "Mi": 1, "G": 1024}
LEAST = 256
"""MiB. A hostile server may make an agent take 120 MiB (tests/e2e/test_hostile_server.py)."""
AGENTS = {
    "broker": {"agent"},
    "exec": {"app"},
    "frontend": {"agent"},
    "include": set(),  # It is in the file that the stack includes.
    "include/lessee": {"lessee"},
    "issue": {"agent", "issuer"},
    "labels": {"agent"},
    "monitoring": {"agent", "rotator", "monitor"},
    "nginx": {"agent"},
    "pgbouncer": {"agent", "rotator"},
    "quickstart": {"agent"},
    "restart": {"agent"},
    "rotation": {"agent", "rotator"},
    "simba": {"agent", "rotator"},
    "socket": {"agent"},
    "socket-proxy": {"agent"},
    "swarm": {"app"},
    "vault": set(),
}
"""The services of each stack that run lessee and do not end."""


def _name(file):
    return str(file.parent.relative_to(COMPOSE))


def service(file, name):
    """A service with what it extends."""
    found = yaml.safe_load(file.read_text())["services"][name]
    base = found.pop("extends", None)
    return (service((file.parent / base["file"]).resolve(), base["service"]) if base else {}) | found


def agents(file):
    """The services that have a configuration of lessee, without those that run once."""
    for name in yaml.safe_load(file.read_text())["services"]:
        settings = service(file, name)
        targets = [each if isinstance(each, str) else each["target"] for each in settings.get("volumes", [])]
        targets += [config["target"] for config in settings.get("configs", [])]
        if settings.get("restart") != "no" and any("/etc/lessee" in target for target in targets):
            yield name, settings


def mib(text):
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()
    return int(number) * MIB[unit]


@pytest.mark.parametrize(
    "file", [*STACKS, COMPOSE / "include/lessee/compose.yaml", COMPOSE / "swarm/stack.yaml"], ids=_name
)
def test_an_agent_in_compose_has_a_user_and_limits(file):
    found = dict(agents(file))
    assert found.keys() == AGENTS[_name(file)]
    for settings in found.values():
        limits = settings.get("deploy", {}).get("resources", {}).get("limits", {})
        memory, pids = limits.get("memory", settings.get("mem_limit")), limits.get("pids", settings.get("pids_limit"))
        assert mib(memory) >= LEAST
        assert 64 <= pids <= 128
        assert settings["user"].partition(":")[0] == "0"
        assert settings["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("file", ["systemd/lessee@.service", "podman/app-agent.container"])
def test_an_agent_of_systemd_has_limits(file):
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(COMPOSE / file)
    limits = unit["Service"]
    assert mib(limits["MemoryMax"]) >= LEAST
    assert (limits["MemorySwapMax"], limits["TasksMax"]) == ("0", "64")


def test_the_agent_in_kubernetes_has_a_limit_of_memory():
    # Kubernetes limits processes for each pod, in the kubelet's configuration (`podPidsLimit`).
    [pod] = [
        each["spec"]["template"]["spec"]
        for each in yaml.safe_load_all((COMPOSE / "kubernetes/sidecar/agent.yaml").read_text())
    ]
    [agent] = pod["initContainers"]
    assert mib(agent["resources"]["limits"]["memory"]) >= LEAST


@pytest.mark.parametrize("file", STACKS, ids=lambda path: path.parent.name)
def test_no_app_of_an_example_has_the_agents_user(file):
    config = file.parent / "lessee/lessee.yaml"
    if not config.exists():
        config = file.parent / "lessee.yaml"
    checked = check_project(PurePosixPath(config), config.read_text(), {}, lambda *_: "A=1\n")
    found = check_compose([str(file)], checked, read, lambda _: None)
    assert [finding for finding in found if finding.rule == "same-user"] == []


@pytest.mark.parametrize(
    ("agent", "app"),
    [("systemd/lessee@.service", "systemd/app.service"), ("podman/app-agent.container", "podman/app.container")],
)
def test_agent_and_app_of_systemd_have_users_of_their_own(agent, app):
    users = [re.findall(r"(?m)^User=(.*)$", (COMPOSE / file).read_text()) for file in (agent, app)]
    assert users in ([["lessee"], ["app"]], [["0"], ["1000"]])


def test_the_images_user_is_no_apps():
    [user] = re.findall(r"(?m)^USER (.*)$", (COMPOSE / "Dockerfile").read_text())
    assert user == "10001:10001"
    used = {service(file, name).get("user") for file in STACKS for name in yaml.safe_load(file.read_text())["services"]}
    assert not [each for each in used if each and each.startswith("10001")]


def read(path):
    try:
        return (ROOT / path).read_text()
    except OSError:
        raise ConfigError([]) from None
