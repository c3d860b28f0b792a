"""A read socket that names containers, on a real Engine: the same user may not read in another container."""

import json
import subprocess
import sys

import pytest

from e2e.engine import BASE
from e2e.test_compose_socket import READER
from lessee.host.openbao import OpenBao
from support.programs.sidecar import Sidecar

pytestmark = pytest.mark.docker

UID = 4321
PATHS = ("/files/app.txt",) * 20
POLICY = 'path "secret/*" { capabilities = ["read", "list"] }'


@pytest.fixture
def sidecar(engine, tmp_path, memory):
    engine.make_base(BASE)
    with OpenBao(tmp_path) as server:
        server.put("testing/db", password="canary-of-containers")
        agent = Sidecar(server.address, tmp_path, memory)
        agent.environ["DOCKER_HOST"] = engine.environ["DOCKER_HOST"]
        agent.log_in_by_approle(server, POLICY)
        agent.template("app.txt", '{{ secret("db").password }}\n')
        agent.reads = memory / "read" / "web.sock"
        containers = [{"project": "shop", "service": "web"}, {"label": "reader=yes"}]
        agent.web["socket"] = {"path": str(agent.reads), "uids": [UID], "containers": containers}
        yield agent
        agent.close()


def statuses(engine, sidecar, *labels, uid=UID):
    mount = f"{sidecar.reads.parent}:/run/sockets:ro"
    words = ("--rm", "--network=none", f"--user={uid}", f"--volume={mount}", *(f"--label={label}" for label in labels))
    output = engine.docker("run", *words, BASE, "python3", "-c", READER, "/run/sockets/web.sock", *PATHS)
    return set(output.split())


@pytest.mark.thorough
def test_only_processes_of_the_named_containers_read(engine, sidecar):
    sidecar.start()
    project, service = "com.docker.compose.project=shop", "com.docker.compose.service=web"
    assert statuses(engine, sidecar, project, service) == {"200"}
    assert statuses(engine, sidecar, "reader=yes") == {"200"}
    assert statuses(engine, sidecar) == {"403"}
    assert statuses(engine, sidecar, service) == {"403"}
    assert statuses(engine, sidecar, "com.docker.compose.project=other", service, "reader=no") == {"403"}
    assert statuses(engine, sidecar, project, service, uid=0) == {"403"}
    sidecar.memory.chmod(0o711)
    on_the_host = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", sys.executable, "-c", READER)
    done = subprocess.run([*on_the_host, sidecar.reads, *PATHS], stdout=subprocess.PIPE, text=True, check=True)
    assert set(done.stdout.split()) == {"403"}
    reasons = [line["reason"] for line in sidecar.events() if line["event"] == "reader refused"]
    assert "the process runs in no container" in reasons
    assert any("may not read" in reason for reason in reasons)
    assert "canary-of-containers" not in json.dumps(sidecar.events())
