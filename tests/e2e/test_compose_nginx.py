"""nginx with a certificate that ends soon, on a real Engine: renewed while it is connected to all the time."""

import json
import os
import shutil
from threading import Thread

import pytest

from e2e.compose import images, up
from e2e.engine import SHELL
from support.needs import need
from support.paths import ROOT
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

IMAGE = "lessee-e2e-nginx"
# Connects over and over until it has seen so many certificates, each to be good for nginx by the CA on stdin.
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
                assert tls.makefile("rb").read().endswith(b"hello\\n"), "no answer"
    except Exception as exc:
        failures.append(repr(exc))
    else:
        serials += [serial] if serial not in serials else []
print(json.dumps({"serials": serials, "failures": failures, "connections": connections}))
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A copy of the agent's configuration, to be edited."""
    return shutil.copytree(ROOT / "compose/nginx/lessee", tmp_path_factory.mktemp("nginx") / "lessee")


@pytest.fixture(scope="module")
def project(pytestconfig, settings):
    made, image = images(pytestconfig), os.environ.get("NGINX_IMAGE")
    if image is None:
        need(
            shutil.which("nginx"),
            "needs an image with nginx in NGINX_IMAGE, or nginx to make one of: apt install nginx",
        )
        made.engine.make_base(IMAGE, *SHELL, "nginx")
    overrides = {"agent": {"volumes": [f"{settings}:/etc/lessee:ro"]}}
    with up(pytestconfig, "nginx", overrides, NGINX_IMAGE=image or IMAGE, PORT="0") as project:
        eventually(lambda: state_of(project) == "ready", "the first certificate")
        yield project
    if image is None:
        made.engine.remove(IMAGE)


def test_certificates_are_renewed_and_no_handshake_fails(project, settings):
    authority = project.run("openbao", "bao", "read", "-field=certificate", "pki/cert/ca")
    seen = []
    connect = ("agent", "/opt/lessee/bin/python", "-c", CONNECT, "4")
    connecting = Thread(target=lambda: seen.append(json.loads(project.run(*connect, text=authority))))
    connecting.start()
    # The edit causes the second certificate, an approaching expiry the others.
    for file in settings.glob("*.j2"):
        edited = file.with_suffix(".new")
        edited.write_text(file.read_text().replace('ttl="24h"', 'ttl="12s"'))
        edited.rename(file)
    connecting.join()
    (found,) = seen
    assert found["failures"] == []
    assert len(found["serials"]) == 4
    assert found["connections"] > 100
    assert len(project.until("agent", '"app ready"', 4)) == 4


def state_of(project):
    return project.status()["apps"]["app"]["state"]
