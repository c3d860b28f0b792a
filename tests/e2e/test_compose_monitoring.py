"""The monitoring of agents, rotator and audit log, on a real Engine: a problem raises an alert."""

import json

import pytest

from e2e.compose import LESSEE, images, up
from e2e.engine import SHELL
from support.programs.sidecar import eventually
from support.servers.prometheus import FOLDER, with_short_intervals

pytestmark = pytest.mark.docker

OWN, WATCHERS = "lessee-e2e-monitoring", "lessee-e2e-watchers"
PACKAGES = ("prometheus", "prometheus-alertmanager", "redis-server", "redis-tools")


@pytest.fixture(scope="module")
def project(pytestconfig, tmp_path_factory):
    made = images(pytestconfig)
    made.engine.make_base(WATCHERS, *SHELL, *PACKAGES)
    services = {name: {"image": OWN} for name in ("rotator", "monitor", "setup")}
    services["agent"] = {"image": OWN, "build": made.build}
    services |= {name: {"image": WATCHERS} for name in ("prometheus", "redis")}
    command = json.loads(made.project("monitoring").compose("config", "--format=json"))
    (_, *arguments) = command["services"]["alertmanager"]["entrypoint"]
    services["alertmanager"] = {"image": WATCHERS, "entrypoint": ["prometheus-alertmanager", *arguments]}
    folder = tmp_path_factory.mktemp("monitoring")
    places = {"prometheus": ("prometheus.yml", "rules"), "alertmanager": ("alertmanager.yml",)}
    for service, names in places.items():
        services[service]["volumes"] = [f"{in_a_hurry(folder, name)}:/etc/{service}/{name}:ro" for name in names]
    try:
        with up(pytestconfig, "monitoring", services) as project:
            yield project
    finally:
        made.engine.remove(OWN, WATCHERS)


def in_a_hurry(folder, name):
    """A file of the situation, or a folder of them."""
    file = FOLDER / name
    if file.is_dir():
        (folder / name).mkdir()
        for one in file.iterdir():
            in_a_hurry(folder, f"{name}/{one.name}")
    else:
        (folder / name).write_text(with_short_intervals(file.read_text()))
    for one in (folder, folder / name):
        one.chmod(0o755 if one.is_dir() else 0o644)
    return folder / name


def asked(project, expression):
    """Value of what Prometheus answers, one a sample."""
    said = project.run(
        "prometheus", "promtool", "query", "instant", "-o", "json", "http://localhost:9090", expression, fine=False
    )
    try:
        return [float(sample["value"][1]) for sample in json.loads(said)]
    except ValueError:
        return []  # It is not up yet.


def until(project, look, what, patience=90):
    """What all say, if it does not come to be."""
    try:
        eventually(look, what, patience)
    except AssertionError as exc:
        raise AssertionError(f"{exc}\n{project.compose('logs', '--tail=20')}") from None


def heard(project, having):
    until(project, lambda: project.lines("receiver", having), f"{having!r} at the receiver")


def test_all_three_are_watched_and_a_rotation_is_seen_in_each(project):
    until(project, lambda: asked(project, 'up{job=~"lessee.*"}') == [1.0] * 3, "three programs that answer")
    until(project, lambda: asked(project, "lessee_events_connected") == [1.0], "an agent that hears of changes")
    # Where a scrape has failed, there is no value of now.
    [before] = asked(project, "last_over_time(lessee_app_generation[1m])")
    project.run("rotator", LESSEE, "rotate", "--config", "/etc/lessee/rotator.yaml", "--force", "session")
    until(project, lambda: project.lines("app", "SIGHUP"), "the app to be notified")
    until(project, lambda: asked(project, "lessee_app_generation")[:1] > [before], "a new generation in Prometheus")
    until(project, lambda: asked(project, "lessee_monitor_changes_published_total")[:1] > [0], "published changes")


def test_an_alert_of_the_monitor_arrives_too(project):
    # `setup` has worked with the root token.
    heard(project, "firing: root-token")


def test_a_stopped_vault_raises_an_alert(project):
    project.compose("stop", "openbao")
    heard(project, "firing: LesseeVaultUnreachable")
    project.compose("start", "openbao")
    heard(project, "resolved: LesseeVaultUnreachable")


def test_only_a_client_with_the_token_reads_the_metrics(project):
    ask = "import urllib.request as r; print(r.urlopen('http://agent:9105/metrics').status)"
    assert "401" in project.run("monitor", "/opt/lessee/bin/python", "-c", ask, fine=False)
    shown = project.run("prometheus", "cat", "/run/scrape/token").strip()
    assert len(shown) > 40
    for service in ("agent", "rotator", "monitor", "prometheus", "receiver"):
        assert shown not in project.docker("logs", project.container(service))
        assert shown not in json.dumps(project.inspect(service))
