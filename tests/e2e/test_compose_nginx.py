"""nginx on a real Engine: the agent renews its certificate while a client connects continuously."""

import json
import shutil
from threading import Thread

import pytest

from e2e.nginx import nginx_image
from support.paths import ROOT
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

# Connects repeatedly until it has received this number of certificates. It verifies each with the CA on stdin.
CONNECT = """
import json, socket, ssl, sys, time
context = ssl.create_default_context(cadata=sys.stdin.read())
serials, failures, connections = [], [], 0
end = time.monotonic() + 60
while len(serials) < int(sys.argv[1]) and time.monotonic() < end:
    connections += 1
    try:
        with socket.create_connection(("nginx", 8443), 5) as plain:
            with context.wrap_socket(plain, server_hostname="nginx") as tls:
                serial = tls.getpeercert()["serialNumber"]
                tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                assert tls.makefile("rb").read().endswith(b"hello\\n"), "no response"
    except Exception as exc:
        failures.append(repr(exc))
    else:
        serials += [serial] if serial not in serials else []
    time.sleep(0.02)
print(json.dumps({"serials": serials, "failures": failures, "connections": connections}))
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A copy of the agent's configuration, which a test edits."""
    return shutil.copytree(ROOT / "compose/nginx/lessee", tmp_path_factory.mktemp("nginx") / "lessee")


@pytest.fixture(scope="module")
def project(images, settings):
    overrides = {"agent": {"volumes": [f"{settings}:/etc/lessee:ro"]}}
    with images.up("nginx", overrides, NGINX_IMAGE=nginx_image(images.engine), PORT="0") as project:
        eventually(lambda: app_state(project) == "ready", "the first certificate")
        yield project


def test_certificates_are_renewed_and_no_handshake_fails(project, settings):
    authority = project.run("openbao", "bao", "read", "-field=certificate", "pki/cert/ca")
    results = []
    connect = ("agent", "/opt/lessee/bin/python", "-c", CONNECT, "4")
    connecting = Thread(target=lambda: results.append(json.loads(project.run(*connect, text=authority))))
    connecting.start()
    # The agent requests the second certificate because of this edit, and the others because the last one expires.
    for file in settings.glob("*.j2"):
        edited = file.with_suffix(".new")
        edited.write_text(file.read_text().replace('ttl="24h"', 'ttl="12s"'))
        edited.rename(file)
    connecting.join()
    (result,) = results
    assert result["failures"] == []
    assert len(result["serials"]) == 4
    assert result["connections"] > 100
    assert len(project.wait_for_lines("agent", '"app ready"', 4)) == 4


def app_state(project):
    return project.status()["apps"]["app"]["state"]
