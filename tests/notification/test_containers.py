"""Containers of a Compose project, notified through a real Engine."""

import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from e2e.engine import BASE
from lessee.config import ContainerTarget
from lessee.host.clock import boot_time
from lessee.notification import containers
from lessee.notification import engine as api
from lessee.notification.results import Delivered, DeliveryFailed
from support.needs import need
from support.paths import ROOT
from support.programs.sidecar import eventually

docker = pytest.mark.docker
PROJECT = "lessee-notified"
APP = 'trap "echo HUP" HUP; trap "exit 0" TERM; echo start; while :; do sleep 60 & wait $!; done'
IGNORES_SIGTERM = 'trap "" TERM; echo start; while :; do sleep 60 & wait $!; done'


class Containers:
    """Starts containers with the labels that Compose sets, and removes them."""

    def __init__(self, engine):
        self._engine = engine
        self._ids = []

    def start(self, service="app", *options, project=PROJECT, script=APP, command=("run", "--detach"), **labels):
        """Create a container, wait for its start, and return its full id."""
        of_compose = {"project": project, "service": service, "oneoff": "False"}
        all_labels = {f"com.docker.compose.{key}": value for key, value in of_compose.items()} | labels
        words = [f"--label={key}={value}" for key, value in all_labels.items()]
        created = self._engine.docker(*command, "--network=none", *words, *options, BASE, "sh", "-c", script).split()[
            -1
        ]
        self._ids.append(created)
        if command[0] == "run":
            eventually(lambda: "start" in self.logs(created), "its start")
        return created

    def logs(self, which):
        return self._engine.logs(which).split()

    def docker(self, *arguments):
        return self._engine.docker(*arguments)

    def inspect(self, which):
        return self._engine.inspect(which)

    def started_at(self, *ids):
        return [self.inspect(which)["State"]["StartedAt"] for which in ids]

    def crash(self, which):
        """Kill the container's process; after `docker kill` the Engine would not apply the restart policy."""
        os.kill(self.inspect(which)["State"]["Pid"], signal.SIGKILL)

    def close(self):
        if self._ids:
            self._engine.remove(*self._ids)


@pytest.fixture(scope="module")
def engine(engine):
    engine.make_base(BASE)
    return engine


@pytest.fixture
def testbed(engine, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", engine.environ["DOCKER_HOST"])
    containers = Containers(engine)
    yield containers
    containers.close()


def target(service=None, *, name=None, label=None, project=PROJECT, through_engine=False):
    return ContainerTarget(service=service, name=name, label=label, project=project, through_engine=through_engine)


def notify(containers_of, action="restart", *, published_at=None, grace=5.0, start_period=0.0, in_namespace=None):
    return containers.notify_containers(
        containers_of,
        action,
        published_at=boot_time() if published_at is None else published_at,
        stop_grace_period=grace,
        start_period=start_period,
        signal_in_namespace=in_namespace or (lambda which: pytest.fail(f"{which} was signaled in its namespace")),
    )


@pytest.mark.thorough
@docker
def test_all_replicas_of_a_service_and_no_others_are_restarted(testbed):
    ours = [testbed.start("app", f"--name=app-{number}") for number in (1, 2)]
    others = [
        testbed.start("db"),
        testbed.start("app", project="lessee-other"),
        testbed.start("app", **{"com.docker.compose.oneoff": "True"}),
    ]
    before, untouched = testbed.started_at(*ours), testbed.started_at(*others)
    assert notify(target("app")) == Delivered("restarted app-1, restarted app-2")
    assert not set(before) & set(testbed.started_at(*ours))
    assert testbed.started_at(*others) == untouched
    eventually(lambda: [testbed.logs(container) for container in ours] == [["start", "start"]] * 2, "both starts")


@docker
def test_a_container_that_started_after_the_publish_is_not_restarted(testbed):
    container = testbed.start("app", "--name=app-1")
    published_at = boot_time()
    assert notify(target("app"), published_at=published_at) == Delivered("restarted app-1")
    after = testbed.started_at(container)
    again = notify(target("app"), published_at=published_at)
    assert again == Delivered("app-1 started after the publish and has read the new files")
    assert testbed.started_at(container) == after


@docker
def test_the_restart_policy_still_applies_after_a_restart(testbed):
    container = testbed.start("app", "--restart=unless-stopped")
    assert isinstance(notify(target("app")), Delivered)
    eventually(lambda: testbed.logs(container).count("start") == 2, "its second start")
    testbed.crash(container)
    eventually(lambda: testbed.logs(container).count("start") == 3, "its third start")


@docker
def test_a_container_that_ignores_sigterm_is_killed_after_the_grace_period(testbed):
    testbed.start("app", "--name=app-1", script=IGNORES_SIGTERM)
    began = time.monotonic()
    assert notify(target("app"), grace=0.5) == Delivered("restarted app-1")
    assert time.monotonic() - began > 0.5


@docker
def test_a_container_that_does_not_run_is_not_started_and_reported_as_absent(testbed):
    stopped, created = testbed.start("app", "--name=app-1"), testbed.start("app", "--name=app-2", command=("create",))
    testbed.docker("stop", stopped)
    assert notify(target("app")) == DeliveryFailed("app-1 is exited, app-2 is created", absent=True)
    assert [testbed.inspect(container)["State"]["Status"] for container in (stopped, created)] == ["exited", "created"]


@docker
def test_a_container_that_its_restart_policy_has_not_started_yet_is_absent(testbed):
    container = testbed.start("app", "--name=app-1", "--restart=always", script="echo start; exit 1")
    eventually(lambda: testbed.inspect(container)["State"]["Status"] == "restarting", "the restart delay")
    # The container may start in between; then it is notified.
    outcome = notify(target("app"), "SIGHUP", in_namespace=lambda _: Delivered("it runs"))
    assert outcome in {DeliveryFailed("app-1 is restarting", absent=True), Delivered("it runs")}


@docker
def test_a_stopped_replica_does_not_prevent_the_notification_of_others(testbed):
    testbed.docker("stop", testbed.start("app", "--name=app-1"))
    testbed.start("app", "--name=app-2")
    assert notify(target("app")) == Delivered("restarted app-2")


@docker
def test_a_replica_that_cannot_be_notified_is_named_and_the_others_are_notified(testbed):
    testbed.docker("pause", testbed.start("app", "--name=app-1"))
    testbed.start("app", "--name=app-2")
    outcome = notify(target("app"))
    assert outcome == DeliveryFailed("app-1 is paused; docker unpause app-1; notified: app-2")
    testbed.docker("unpause", "app-1")


@docker
def test_a_container_of_another_project_is_not_notified_even_by_its_name(testbed):
    other = testbed.start("app", "--name=foreign-1", project="lessee-other")
    before = testbed.started_at(other)
    assert notify(target(name="foreign-1")) == DeliveryFailed("the project has no such container", absent=True)
    assert notify(target(name="foreign-1", project="lessee-other")) == Delivered("restarted foreign-1")
    assert testbed.started_at(other) != before


@docker
@pytest.mark.parametrize("label", ["reload", "reload=yes"])
def test_containers_are_found_by_their_label(testbed, label):
    testbed.start("app", "--name=app-1", reload="yes")
    testbed.start("app", "--name=app-2")
    testbed.start("app", project="lessee-other", reload="yes")
    assert notify(target(label=label)) == Delivered("restarted app-1")
    assert notify(target(label="reload=no")).absent


@docker
def test_in_a_shared_pid_namespace_the_result_is_the_callers(testbed):
    ids = [testbed.start("app", f"--name=app-{number}") for number in (1, 2)]
    calls = []

    def caller(which):
        calls.append(which)
        return (
            Delivered("sent SIGHUP to process 33")
            if which == ids[0]
            else DeliveryFailed("not in this namespace", absent=True, retry_in=0.25)
        )

    outcome = notify(target("app"), "SIGHUP", in_namespace=caller)
    assert outcome == DeliveryFailed("not in this namespace; notified: app-1", retry_in=0.25)
    assert calls == ids
    assert notify(target(name="app-1"), "SIGHUP", in_namespace=caller) == Delivered("sent SIGHUP to process 33")
    alone = notify(target(name="app-2"), "SIGHUP", in_namespace=caller)
    assert alone == DeliveryFailed("not in this namespace", absent=True, retry_in=0.25)
    both = notify(
        target("app"), "SIGHUP", in_namespace=lambda which: DeliveryFailed(which[:1], would_terminate=which == ids[0])
    )
    assert both == DeliveryFailed(f"{ids[0][0]}; {ids[1][0]}", would_terminate=True)


@docker
def test_a_signal_through_the_engine_arrives_and_the_restart_policy_still_applies(testbed):
    container = testbed.start("app", "--name=app-1", "--restart=always", "--stop-signal=SIGTERM")
    outcome = notify(target("app", through_engine=True), "SIGHUP")
    assert outcome == Delivered("sent SIGHUP to app-1 through the engine")
    eventually(lambda: testbed.logs(container)[-1] == "HUP", "the signal")
    testbed.crash(container)
    eventually(lambda: testbed.logs(container).count("start") == 2, "its second start")


@docker
@pytest.mark.parametrize(
    ("options", "todo"),
    [
        (["--restart=always"], "stop_signal: SIGTERM"),
        (["--restart=on-failure"], "stop_signal: SIGTERM"),
        (["--restart=always", "--stop-signal=HUP"], "another stop_signal"),
        (["--restart=always", "--stop-signal=1"], "Podman"),
        (["--restart=always", "--stop-signal=15"], "Podman"),
        (["--restart=unless-stopped"], "restart: always"),
        (["--restart=unless-stopped", "--stop-signal=SIGTERM"], "restart: always"),
    ],
)
def test_a_signal_that_would_suspend_the_restart_policy_is_not_sent(testbed, options, todo):
    container = testbed.start("app", "--name=app-1", *options)
    outcome = notify(target("app", through_engine=True), "SIGHUP")
    assert outcome.reason.startswith("app-1: after SIGHUP through the engine")
    assert todo in outcome.reason
    assert not outcome.absent
    assert testbed.logs(container) == ["start"]
    testbed.crash(container)
    eventually(lambda: testbed.logs(container).count("start") == 2 or "unless" in outcome.reason, "its second start")


@docker
def test_without_a_restart_policy_a_signal_is_always_sent(testbed):
    container = testbed.start("app", "--name=app-1")
    assert isinstance(notify(target("app", through_engine=True), "SIGHUP"), Delivered)
    eventually(lambda: testbed.logs(container)[-1] == "HUP", "the signal")


@docker
def test_a_container_is_not_signaled_through_the_engine_in_its_start_period(testbed):
    container = testbed.start("app", "--name=app-1")
    outcome = notify(target("app", through_engine=True), "SIGHUP", start_period=3600.0)
    assert outcome.reason == "app-1 is still starting and may not catch SIGHUP yet"
    assert 0 < outcome.retry_in <= 3600
    assert testbed.logs(container) == ["start"]


@docker
def test_a_denial_by_a_proxy_in_front_of_the_engine_is_reported(testbed, engine, monkeypatch, memory):
    testbed.start("app", "--name=app-1")
    address = f"unix://{memory}/docker.sock"
    proxy = subprocess.Popen(
        [sys.executable, ROOT / "compose/socket-proxy/proxy.py"],
        env={"ENGINE_SOCKET": engine.socket, "LISTEN": address, "COMPOSE_PROJECT_NAME": PROJECT},
        stdout=subprocess.PIPE,
    )
    try:
        proxy.stdout.readline()
        monkeypatch.setenv("DOCKER_HOST", address)
        outcome = notify(target("app", through_engine=True), "SIGTERM")
        assert (
            "DOCKER_HOST: signaling a container failed: the engine, or a proxy in front of it, answered 403"
            in outcome.reason
        )
        assert notify(target("app")) == Delivered("restarted app-1")
        assert notify(target("app", project="lessee-other")).absent
    finally:
        proxy.terminate()
        proxy.communicate()


@docker
def test_the_agents_own_container_is_found_and_with_it_its_project(testbed):
    own = testbed.start("agent")
    cgroup, mountinfo = (testbed.docker("exec", own, "cat", f"/proc/self/{file}") for file in ("cgroup", "mountinfo"))
    assert containers._own_container("0::/", mountinfo) == containers._OwnContainer(own, certain=False)
    assert containers._own_container(cgroup, mountinfo).id == own
    with api.open_engine() as engine:
        assert containers._own_project(engine, containers._OwnContainer(own, certain=False)) == PROJECT


def test_the_agents_own_container_is_found_in_the_mounts_of_podman():
    which = "c0ffee" * 10 + "cafe"
    folder = f"/containers/overlay-containers/{which}/userdata"
    line = f"612 598 0:49 {folder}/hosts /etc/hosts rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=1604596k"
    assert containers._own_container("0::/", f"1 2 0:1 / / rw - overlay overlay rw\n{line}\n").id == which


def summary(which, name, network="none"):
    return api.ContainerSummary(which, names=(f"/{name}",), host_config=api.SummaryHostConfig(network))


def test_the_agent_never_notifies_its_own_container():
    summaries = [summary("a", "agent"), summary("b", "app")]
    own = containers._OwnContainer("a", certain=False)
    assert containers._without_own(own, summaries, summaries, by_label=True) == summaries[1:]


def test_an_app_whose_network_the_agent_shares_is_not_mistaken_for_the_agent():
    summaries = [summary("a", "agent", "container:b"), summary("b", "app")]
    possibly_own = containers._OwnContainer("b", certain=False)
    assert containers._without_own(possibly_own, summaries[1:], summaries, by_label=False) == summaries[1:]
    with pytest.raises(containers.NotNotifiedError, match="name the service instead"):
        containers._without_own(possibly_own, summaries, summaries, by_label=True)
    own = containers._OwnContainer("a", certain=True)
    assert containers._without_own(own, summaries, summaries, by_label=True) == summaries[1:]


@docker
def test_without_a_project_no_container_is_notified_and_the_error_says_how_to_name_one(testbed):
    testbed.start("app")
    outcome = notify(target("app", project=None))
    assert outcome.reason.endswith("name the project, as `project: NAME`")
    assert not outcome.absent


@pytest.fixture
def no_engine():
    """Collect garbage here: the SDK does not close a socket that could not connect, and another test would warn."""
    yield
    gc.collect()


ignore_unclosed_socket = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)


@ignore_unclosed_socket
@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_the_error_says_what_to_mount_without_the_address(monkeypatch, memory):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{memory}/canary.sock")
    outcome = notify(target("app"))
    assert outcome == DeliveryFailed(
        "DOCKER_HOST: no engine listens here; mount its socket, or better that of a socket proxy"
    )


@pytest.mark.parametrize(
    "host", ["tcp://user:canary@127.0.0.1:1", "canary://", "unix://canary", "ssh://canary@127.0.0.1"]
)
@ignore_unclosed_socket
@pytest.mark.usefixtures("no_engine")
def test_an_error_contains_no_part_of_docker_host(monkeypatch, host):
    monkeypatch.setenv("DOCKER_HOST", host)
    outcome = notify(target("app"))
    assert outcome.reason.startswith("DOCKER_HOST: ")
    assert "canary" not in outcome.reason


@ignore_unclosed_socket
@pytest.mark.usefixtures("no_engine")
def test_a_socket_that_the_agent_may_not_use_is_reported(monkeypatch):
    need(os.geteuid() == 0, "needs root, to change its uid")
    with (
        tempfile.TemporaryDirectory(prefix="lessee-", dir="/var/tmp") as folder,
        socket.socket(socket.AF_UNIX) as server,
    ):
        server.bind(f"{folder}/docker.sock")
        server.listen()
        Path(folder).chmod(0o755)
        Path(folder, "docker.sock").chmod(0o600)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/docker.sock")
        os.seteuid(65534)
        try:
            outcome = notify(target("app"))
        finally:
            os.seteuid(0)
    assert outcome.reason == "DOCKER_HOST: the agent may not use this socket; give the agent the socket's group"


@ignore_unclosed_socket
@pytest.mark.usefixtures("no_engine")
def test_an_engine_that_does_not_respond_does_not_block_the_agent(monkeypatch, memory):
    monkeypatch.setattr(api, "_TIMEOUT", 1)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{memory}/docker.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{memory}/docker.sock")
        server.listen()
        outcome = notify(target("app"))
    assert outcome.reason == "DOCKER_HOST: the engine did not answer in time; check whether `docker ps` answers"


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "docker.errors", None)
    assert notify(target("app")) == DeliveryFailed("the Docker SDK for Python is not installed; pip install docker")
