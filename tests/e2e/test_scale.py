"""What one agent asks in quiet, which the model of thousands is made of; and that the written table is its own."""

import shutil
import subprocess
from functools import partial
from urllib.parse import urlsplit

import pytest

from support.models import scaling
from support.needs import need
from support.paths import ROOT
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Proxy
from support.sockets import connections

SCALE = ROOT / "docs/explanation/scale.md"
POLICY = """
path "secret/data/testing/*"              { capabilities = ["read"] }
path "secret/metadata/testing/*"          { capabilities = ["read", "list"] }
path "secret/detailed-metadata/testing/*" { capabilities = ["list"] }
"""
FOLDERS = 3


def test_an_idle_agent_has_one_connection_and_sends_one_request_per_folder_and_check(bao, sidecar, folder):
    for number in range(FOLDERS):
        for name in ("one", "two"):
            bao.put(f"testing/{folder}-{number}/{name}", value="x")
            sidecar.template(f"{number}-{name}.env.j2", f'X={{{{ secret("{folder}-{number}/{name}").value }}}}\n')
    sidecar.log_in_by_approle(bao, POLICY)
    sidecar.web["refresh_interval"] = "1s"
    with Proxy(urlsplit(bao.address).port) as proxy:
        sidecar.config["vault"]["address"] = proxy.address
        sidecar.start()
        start = [request.path for request in proxy.requests if "detailed-metadata" not in request.path]
        assert len(start) == scaling.START + 2 * FOLDERS, start
        begin = len(proxy.requests)
        eventually(lambda: len(proxy.requests) >= begin + 4 * FOLDERS, "four rounds")
        asked = [urlsplit(request.path).path.rstrip("/") for request in proxy.requests[begin:]]
        looks = [asked.count(f"/v1/secret/detailed-metadata/testing/{folder}-{number}") for number in range(FOLDERS)]
        assert sum(looks) == len(asked), asked
        assert max(looks) - min(looks) <= 2
        held = partial(connections, sidecar.pid, proxy.port)
        eventually(lambda: held() == 1, "the end of the connections that the start needed", 60)
        sidecar.stop()


@pytest.fixture
def crowded():
    """A command that starts another where inotify has no room for it, as where many agents run already."""
    command = ["unshare", "--user", "--map-root-user"]
    full = [*command, "sh", "-c", 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"', "sh"]
    able = shutil.which("unshare") and subprocess.run([*full, "true"], capture_output=True, check=False).returncode == 0
    need(able, "needs util-linux's unshare, and user namespaces")
    return full


def test_an_agent_without_inotify_watches_reloads_edits(sidecar, crowded):
    sidecar.template("app.env.j2", "X=1\n")
    sidecar.start(before=crowded)
    (sidecar.disk / "app.env.j2").write_text("X=2\n")
    sidecar.until_file("app.env", "X=2\n")
    sidecar.template("more.env.j2", "{% include 'late.j2' %}")
    sidecar.write_config()
    sidecar.until(lambda status: any("late.j2" in line for line in status["problems"]))
    (sidecar.disk / "late.j2").write_text("Y=1\n")
    sidecar.until_file("more.env", "Y=1\n")
    assert "Traceback" not in sidecar.log.read_text()


def test_the_documented_table_matches_the_model():
    assert scaling.table() in SCALE.read_text()
