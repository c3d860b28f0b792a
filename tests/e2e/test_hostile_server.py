"""A hostile or broken server: it costs the sidecar little memory and few requests, and delays no SIGTERM."""

from types import SimpleNamespace

import pytest

from lessee.host.openbao import OpenBao
from support.programs.attacked import A_MINUTE, TEMPLATES, Attacked, prepare
from support.programs.sidecar import pass_by
from support.servers.hostile_server import ATTACKS
from support.thorough import sampled

MOST_MEMORY = 120
"""MiB."""
MOST_REQUESTS = 20
"""In a minute."""
MOST_THREADS = 20
"""The main thread, those of the status server and of the client's pools."""
MOST_CONNECTIONS = 8
TRIED = {name: ATTACKS[name] for name in sampled(ATTACKS, of=4, key="of a sidecar's server")}
SOON = 15.0
"""Seconds: half of the deadline of a request. The benchmark `hostile_server` measures the time."""


@pytest.fixture(scope="module")
def results(tmp_path_factory, module_memory):
    """What each attack has cost after a minute. All happen at the same time, each to a sidecar of its own."""
    disk = tmp_path_factory.mktemp("hostile")
    found, attacked = {}, {}
    with OpenBao(disk) as bao:
        prepare(bao)
        try:
            for number, (name, (path, fault)) in enumerate(TRIED.items()):
                own, memory = disk / f"h{number}", module_memory / str(number)
                own.mkdir()
                memory.mkdir()
                attacked[name] = Attacked(bao, own, memory, path, fault)
                attacked[name].start()
            for one in attacked.values():
                one.begin()
            pass_by(A_MINUTE)
            for name, one in attacked.items():
                sidecar = one.sidecar
                assert sidecar.process.poll() is None, f"{name}: {sidecar.log.read_text()}"
                threads, descriptors, requests = one.threads, one.descriptors, one.requests
                healthy = sidecar.get("/healthz")[0]
                found[name] = SimpleNamespace(
                    peak=one.peak,
                    requests=requests,
                    threads=threads,
                    descriptors=descriptors,
                    healthy=healthy,
                    began=one.began,
                    sent=list(one.proxy.requests),
                    status=sidecar.status(),
                    files={file.name: file.read_text() for file in sidecar.directory.iterdir() if file.is_file()},
                    events=sidecar.events(),
                )
            idle = Attacked(bao, *_folders(disk, module_memory, "idle"), "", None)
            attacked["idle"] = idle
            idle.start()
            usual, _ = idle.stop()
            for name, result in found.items():
                seconds, result.code = attacked[name].stop()
                # The machine may be busy: what a stop takes without an attack says how much.
                result.late = seconds - 5 * usual
            yield found
        finally:
            for one in attacked.values():
                one.close()


def _folders(disk, memory, name):
    folders = disk / name, memory / name
    for folder in folders:
        folder.mkdir()
    return folders


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TRIED)
def test_a_hostile_server_costs_little_and_delays_nothing(results, name):
    result = results[name]
    sent = [f"{request.at - result.began:.1f} {request.method} {request.path}" for request in result.sent]
    assert result.peak <= MOST_MEMORY
    assert result.requests <= MOST_REQUESTS, sent
    assert result.threads <= MOST_THREADS
    assert result.descriptors <= MOST_CONNECTIONS
    assert result.healthy == 200
    assert result.files["db.env"] == "PASSWORD='first'\n"
    assert (result.code, result.late < SOON) == (0, True), result.late


@pytest.mark.parametrize(("vault", "warned"), [({}, True), ({"insecure_http": True}, False)])
def test_plain_http_to_another_machine_is_warned_of_by_check_and_at_each_start(sidecar, vault, warned):
    sidecar.config["vault"] = {"address": "http://vault.invalid:8200", **vault}
    sidecar.template("db.env.j2", TEMPLATES["db.env.j2"])
    sidecar.start(wait=False).until(lambda status: not status["vault"]["reachable"])
    events = [event for event in sidecar.events() if event["event"] == "vault connection not encrypted"]
    assert [event["address"] for event in events] == ["http://vault.invalid:8200"] * warned
    checked = sidecar.command("check")
    assert checked.returncode == 0
    assert ("lessee.yaml:9: warning: vault: tokens and secrets cross the network" in checked.stderr) is warned, (
        checked.stderr
    )
