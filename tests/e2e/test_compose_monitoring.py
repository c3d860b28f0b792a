"""The monitoring of agent, rotator and audit log on a real Engine: a problem raises an alert."""

import json
import shutil

import pytest
import yaml

from e2e.compose import LESSEE
from e2e.engine import SHELL
from support.programs.sidecar import eventually
from support.servers.prometheus import FOLDER, with_short_intervals

pytestmark = pytest.mark.docker

OWN, WATCHERS = "lessee-e2e-monitoring", "lessee-e2e-watchers"
PACKAGES = ("prometheus", "prometheus-alertmanager", "redis-server", "redis-tools")


@pytest.fixture(scope="module")
def project(images, tmp_path_factory):
    images.engine.make_base(WATCHERS, *SHELL, *PACKAGES)
    services = {name: {"image": OWN} for name in ("rotator", "monitor", "setup")}
    folder = tmp_path_factory.mktemp("monitoring")
    settings = poll_often(shutil.copytree(FOLDER / "lessee", folder / "lessee"))
    services["agent"] = {"image": OWN, "build": images.build, "volumes": [f"{settings}:/etc/lessee:ro"]}
    services |= {name: {"image": WATCHERS} for name in ("prometheus", "redis")}
    own = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    (_, *arguments) = own["services"]["alertmanager"]["entrypoint"]
    services["alertmanager"] = {"image": WATCHERS, "entrypoint": ["prometheus-alertmanager", *arguments]}
    config_files = {"prometheus": ("prometheus.yml", "rules"), "alertmanager": ("alertmanager.yml",)}
    for service, names in config_files.items():
        services[service]["volumes"] = [
            f"{copy_with_short_intervals(folder, name)}:/etc/{service}/{name}:ro" for name in names
        ]
    with images.up("monitoring", services) as project:
        yield project


def poll_often(settings):
    """Let the agent notice an outage in seconds. With events it asks Vault once a minute by default."""
    file = settings / "lessee.yaml"
    config = yaml.safe_load(file.read_text())
    config["events"]["poll_interval"] = "10s"
    file.write_text(yaml.safe_dump(config))
    return settings


def copy_with_short_intervals(folder, name):
    """Copy a file or a folder of compose/monitoring to `folder`, and return the path of the copy."""
    source, copy = FOLDER / name, folder / name
    if source.is_dir():
        copy.mkdir()
        for child in source.iterdir():
            copy_with_short_intervals(folder, f"{name}/{child.name}")
    else:
        copy.write_text(with_short_intervals(source.read_text()))
    for path in (folder, copy):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def query(project, expression):
    """The values of the samples with which Prometheus answers a query."""
    output = project.run(
        "prometheus", "promtool", "query", "instant", "-o", "json", "http://localhost:9090", expression, check=False
    )
    try:
        return [float(sample["value"][1]) for sample in json.loads(output)]
    except ValueError:
        return []  # Prometheus has not started yet.


def wait_until(project, check, what):
    """Wait until `check` returns a truthy value; the failure quotes the logs of all services."""
    try:
        eventually(check, what)
    except AssertionError as exc:
        raise AssertionError(f"{exc}\n{project.compose('logs', '--tail=20')}") from None


def wait_for_alert(project, text):
    wait_until(project, lambda: project.lines("receiver", text), f"{text!r} at the receiver")


@pytest.mark.thorough
def test_prometheus_scrapes_agent_rotator_and_monitor_and_a_rotation_changes_their_metrics(project):
    wait_until(project, lambda: query(project, 'up{job=~"lessee.*"}') == [1.0] * 3, "three successful scrapes")
    wait_until(
        project, lambda: query(project, "lessee_events_connected") == [1.0], "an agent with a connected event source"
    )
    # After a failed scrape there is no current value.
    [before] = query(project, "last_over_time(lessee_app_generation[1m])")
    project.run("rotator", LESSEE, "rotate", "--config", "/etc/lessee/rotator.yaml", "--force", "session")
    wait_until(project, lambda: project.lines("app", "SIGHUP"), "the app to be notified")
    wait_until(
        project, lambda: query(project, "lessee_app_generation")[:1] > [before], "a new generation in Prometheus"
    )
    wait_until(project, lambda: query(project, "lessee_monitor_changes_published_total")[:1] > [0], "published changes")


@pytest.mark.thorough
def test_an_alert_of_the_monitor_reaches_the_receiver(project):
    # `setup` used the root token.
    wait_for_alert(project, "firing: root-token")


@pytest.mark.thorough
def test_a_stopped_vault_raises_an_alert(project):
    project.compose("stop", "openbao")
    wait_for_alert(project, "firing: LesseeVaultUnreachable")
    project.compose("start", "openbao")
    wait_for_alert(project, "resolved: LesseeVaultUnreachable")


@pytest.mark.thorough
def test_only_a_client_with_the_token_reads_the_metrics(project):
    scrape = "import urllib.request as r; print(r.urlopen('http://agent:9105/metrics').status)"
    assert "401" in project.run("monitor", "/opt/lessee/bin/python", "-c", scrape, check=False)
    token = project.run("prometheus", "cat", "/run/scrape/token").strip()
    assert len(token) > 40
    for service in ("agent", "rotator", "monitor", "prometheus", "receiver"):
        assert not project.lines(service, token)
        assert token not in json.dumps(project.inspect(service))
