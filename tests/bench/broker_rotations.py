"""Counts failed calls, and places where a key is seen, while the key of a broker is rotated under load."""

import secrets
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from figures import Figure
from rig import CHECK_INTERVAL, TIMEOUT, Rig, report, rig

from support.paths import ROOT
from support.programs.broker_clients import BrokerClients
from support.servers.api_upstream import Upstream
from support.servers.broker import HOSTS, Broker, template
from support.servers.certificate_authority import Authority

ROTATIONS = 20
CLIENTS = 4
REVOKE_DELAY = 2.0
"""Seconds for which the old key is still valid, once the API gets the new one."""


def measure(rotations: int = ROTATIONS) -> Iterator[Figure]:
    with rig() as bench:
        Authority(bench.folder / "ca.crt").issue(bench.folder / "pair", 9, names=HOSTS)
        with Upstream(bench.folder / "pair") as upstream:
            clients, found = _rotate(bench, upstream, rotations)
    name = f"nginx broker: {rotations} rotations of an API key while {CLIENTS} clients call"
    failed = f"{len(clients.failed)} of {clients.calls:,}"
    yield Figure(f"{name}: failed calls", "", failed, "0", not clients.failed and clients.calls > rotations)
    text = f"{clients.seen}; {found}"
    met = not clients.seen and not found
    yield Figure(f"{name}: answers with a key; logs and processes with one", "", text, "0; 0", met)


def _rotate(bench: Rig, upstream: Upstream, rotations: int) -> tuple[BrokerClients, int]:
    keys, token = [secrets.token_urlsafe(30)], secrets.token_hex(16)
    upstream.accepted = set(keys)
    bench.bao.put("production/api-keys/openai", api_key=keys[0])
    bench.bao.put("production/broker/clients", app=token)
    clients_map = (ROOT / "templates/broker/clients.nginx.conf.j2").read_text()
    templates = {"clients.nginx.conf": clients_map, "api-openai.nginx.conf": template("api-openai", upstream.port)}
    notify = {"process": {"cmdline": f"nginx.*{bench.folder}"}}
    program = bench.lessee_for({"files": (templates, notify)})
    with program:
        program.wait_for_files()
        with Broker(bench.folder, program.directory) as broker:
            clients = BrokerClients(broker, token, CLIENTS)
            clients.keys = keys
            with clients.calling():
                for number in range(rotations):
                    keys.append(secrets.token_urlsafe(30))
                    upstream.accepted.add(keys[-1])
                    bench.bao.put("production/api-keys/openai", api_key=keys[-1])
                    _until(lambda: _last_key(upstream) == keys[-1])
                    time.sleep(REVOKE_DELAY)
                    upstream.accepted.discard(keys[-2])
                    if number % 5 == 0:
                        report(f"{number} rotations, {clients.calls} calls, {len(clients.failed)} failed")
            found = _found(keys, [broker.log, broker.errors, program.log], [broker.process.pid, program.pid])
    return clients, found


def _found(keys: list[str], logs: list[Path], pids: list[int]) -> int:
    """The count of logs, command lines and environments that contain a key."""
    texts = [file.read_text() for file in logs]
    for pid in pids:
        with suppress(PermissionError):
            texts += [Path(f"/proc/{pid}/{name}").read_text(errors="replace") for name in ("cmdline", "environ")]
    return sum(any(key in text for key in keys) for text in texts)


def _last_key(upstream: Upstream) -> str:
    headers = dict(upstream.calls[-1][2]) if upstream.calls else {}
    return str(headers.get("Authorization", "")).removeprefix("Bearer ")


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the API does not get the new key")
        time.sleep(CHECK_INTERVAL)


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=ROTATIONS)
    with suppress(KeyboardInterrupt):
        for figure in measure(parser.parse_args().rotations):
            sys.stdout.write(f"{figure}\n")
