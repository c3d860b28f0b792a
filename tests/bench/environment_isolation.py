"""Counts what one environment's tokens and agents can read of another environment."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from figures import Figure
from rig import LESSEE, MEMORY, environ

sys.path.append(str(Path(__file__).resolve().parents[1]))

from lessee.host.openbao import OpenBao
from support.environments.reach import PAIRS, ROLES, Wire, is_allowed, neighbors, plain, prepare, tricks
from support.environments.setup_namespace import AUDIT, ENVIRONMENTS, SetupNamespace
from support.servers.fault_proxy import Proxy

_CROSSING = {
    "secret": '{{ secret("%s/database/postgres").password }}',
    "folder": '{{ secrets("%s/") | join }}',
    "dynamic": '{{ dynamic("%s/database/creds/simba").username }}',
    "certificate": '{{ certificate("%s/pki/issue/web", common_name="a.simba.local").certificate }}',
    "parent": '{{ secret("../%s/database/postgres").password }}',
}
_OWN = "of the own environment, to verify the count"


def measure() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as name:
        folder = Path(name)
        (folder / "ground").mkdir()
        with OpenBao(folder, config=AUDIT % (folder / "audit.log")) as bao:
            ground = prepare(SetupNamespace(bao, "isolation", folder / "ground", folder / "audit.log"), folder)
            yield from _by_tokens(ground)
            with Proxy(bao.port) as proxy:
                yield from _by_agents(ground, proxy, folder)


def _by_tokens(ground: SetupNamespace) -> Iterator[Figure]:
    tried = allowed = own_allowed = 0
    with Wire(ground) as wire:
        for role in ROLES:
            tokens = {name: ground.log_in(f"{name}-{role}") for name in ENVIRONMENTS}
            for own, other in PAIRS:
                attempts = [*plain(other), *neighbors(other), *tricks(own, other)]
                tried += len(attempts)
                allowed += sum(is_allowed(wire.send(tokens[own], one), other) for one in attempts)
            first = next(plain(ENVIRONMENTS[0]))
            own_allowed += is_allowed(wire.send(tokens[ENVIRONMENTS[0]], first), ENVIRONMENTS[0])
    what = f"{len(PAIRS)} pairs of environments, {len(ROLES)} roles"
    yield Figure(
        f"requests for another environment that were allowed, {what}", "", f"{allowed} of {tried}", "0", allowed == 0
    )
    yield Figure(f"reads {_OWN}", "", f"{own_allowed} of {len(ROLES)}", str(len(ROLES)), own_allowed == len(ROLES))


def _by_agents(ground: SetupNamespace, proxy: Proxy, folder: Path) -> Iterator[Figure]:
    tried = rejected = 0
    requests = ground.requests()
    for own, other in PAIRS:
        for form, text in _CROSSING.items():
            tried += 1
            rejected += _render(ground, proxy, folder / f"{own}-{other}-{form}", own, text % other) in {65, 78}
    requested = max(ground.requests() - requests, proxy.connections)
    met = requested == 0 and rejected == tried
    yield Figure(
        "requests of agents whose template names another environment", "", f"{requested} of {tried} agents", "0", met
    )
    code = _render(ground, proxy, folder / "own", ENVIRONMENTS[0], '{{ secret("database/postgres").password }}')
    requested = ground.requests() - requests
    yield Figure(f"requests of an agent {_OWN}", "", str(requested), "more than 0", code == 0 and requested > 0)


def _render(ground: SetupNamespace, proxy: Proxy, folder: Path, own: str, text: str) -> int:
    folder.mkdir()
    (folder / "web.txt.j2").write_text(text)
    place = ground.disk / "out" / own / f"{own}-web"
    files = {f"{key}_file": str(place / key) for key in ("role_id", "secret_id")}
    auth = {"method": "approle", **files}
    config = {
        "environment": own,
        "vault": {"address": proxy.address, "namespace": ground.name, "auth": auth},
        "setup": {"environments": ENVIRONMENTS},
        "state_dir": str(folder / "state"),
        "apps": {"web": {"directory": str(folder / "web"), "files": [{"template": "web.txt.j2"}]}},
    }
    (folder / "lessee.yaml").write_text(json.dumps(config))
    done = subprocess.run([*LESSEE, "render"], cwd=folder, env=environ(folder), capture_output=True, check=False)
    return done.returncode
