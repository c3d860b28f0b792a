"""How often one environment gets something of another, by its tokens and by its agents."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rig import LESSEE, MEMORY, Figure, environ

sys.path.append(str(Path(__file__).resolve().parents[1]))

from lessee.host.openbao import OpenBao
from support.environments.reach import PAIRS, ROLES, Wire, beside, is_allowed, plain, prepare, tricks
from support.environments.setup_namespace import AUDIT, ENVIRONMENTS, SetupNamespace
from support.servers.fault_proxy import Proxy

_REACHING = {
    "secret": '{{ secret("%s/database/postgres").password }}',
    "folder": '{{ secrets("%s/") | join }}',
    "dynamic": '{{ dynamic("%s/database/creds/simba").username }}',
    "certificate": '{{ certificate("%s/pki/issue/web", common_name="a.simba.local").certificate }}',
    "above": '{{ secret("../%s/database/postgres").password }}',
}
_HOME = "at home, as a check of the count"


def measure() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as name:
        folder = Path(name)
        (folder / "ground").mkdir()
        with OpenBao(folder, config=AUDIT % (folder / "audit.log")) as bao:
            ground = prepare(SetupNamespace(bao, "apart", folder / "ground", folder / "audit.log"), folder)
            yield from _by_tokens(ground)
            with Proxy(bao.port) as proxy:
                yield from _by_agents(ground, proxy, folder)


def _by_tokens(ground: SetupNamespace) -> Iterator[Figure]:
    tried = allowed = at_home = 0
    with Wire(ground) as wire:
        for role in ROLES:
            tokens = {name: ground.log_in(f"{name}-{role}") for name in ENVIRONMENTS}
            for own, other in PAIRS:
                attempts = [*plain(other), *beside(other), *tricks(own, other)]
                tried += len(attempts)
                allowed += sum(is_allowed(wire.send(tokens[own], one), other) for one in attempts)
            first = next(plain(ENVIRONMENTS[0]))
            at_home += is_allowed(wire.send(tokens[ENVIRONMENTS[0]], first), ENVIRONMENTS[0])
    who = f"{len(PAIRS)} pairs of environments, {len(ROLES)} roles"
    yield Figure(f"requests for another's that were allowed, {who}", "", f"{allowed} of {tried}", "0", allowed == 0)
    yield Figure(f"reads {_HOME}", "", f"{at_home} of {len(ROLES)}", str(len(ROLES)), at_home == len(ROLES))


def _by_agents(ground: SetupNamespace, proxy: Proxy, folder: Path) -> Iterator[Figure]:
    tried = refused = 0
    requests = ground.requests()
    for own, other in PAIRS:
        for form, text in _REACHING.items():
            tried += 1
            refused += _render(ground, proxy, folder / f"{own}-{other}-{form}", own, text % other) in {65, 78}
    asked = max(ground.requests() - requests, proxy.connections)
    met = asked == 0 and refused == tried
    yield Figure("requests of agents whose template reaches for another's", "", f"{asked} of {tried} agents", "0", met)
    code = _render(ground, proxy, folder / "home", ENVIRONMENTS[0], '{{ secret("database/postgres").password }}')
    asked = ground.requests() - requests
    yield Figure(f"requests of one {_HOME}", "", str(asked), "more than 0", code == 0 and asked > 0)


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
