"""How a sidecar logs in, where the login itself is in trouble."""

import time

import pytest

from support.programs.sidecar import eventually
from support.servers.fault_proxy import Status

APP = 'PASSWORD={{ secret("db").password }}\n'
READ = 'path "secret/*" { capabilities = ["read", "list"] }\n'
FORBIDDEN = Status(403, body=b'{"errors":["permission denied"]}')


@pytest.fixture
def proxied(server, proxy, sidecar):
    """A sidecar with an AppRole, and the proxy on its way to Vault."""
    server.put("testing/db", password="first")
    sidecar.config["vault"]["address"] = proxy.address
    sidecar.log_in_by_approle(server, READ)
    sidecar.template("app.env.j2", APP)
    return sidecar


def test_403_for_everything_is_an_outage_after_which_the_agent_logs_in_by_itself(server, proxy, proxied):
    proxied.start()
    proxy.fault, since = FORBIDDEN, time.monotonic()
    server.put("testing/db", password="second")
    # A wrong secret_id would be sent twice, and then once in five minutes.
    eventually(lambda: proxy.count("auth/approle/login", since) >= 4, "the fourth login")
    proxy.clear()
    proxied.until_file("app.env", "PASSWORD='second'\n")
    proxied.until(lambda status: status["fresh"] and not status["problems"])
    assert proxied.log.read_text().count('"login failed"') == 1
