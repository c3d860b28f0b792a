"""`lessee status --wait` returns when each app works with what Vault has now, or names the app that does not."""

import pytest

from support.servers.fault_proxy import Fault, Proxy


@pytest.fixture
def path(bao, folder):
    bao.put(f"testing/{folder}/db", password="good-1")
    return f"{folder}/db"


@pytest.fixture
def web(sidecar, path):
    """An app that is ready with values that begin with good. It looks for changes only when it is asked."""
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{path}").password }}}}\n')
    looks = ["grep", "-q", "good", str(sidecar.directory / "app.env")]
    probe = {"command": looks, "initial_delay": "0ms", "timeout": "300ms"}
    sidecar.web.update(ready=probe, refresh_interval="1h")
    sidecar.write_config()
    return sidecar


def test_it_waits_for_the_agent_and_has_it_read_vault_now(bao, web, path):
    web.start()
    assert web.command("status", "--wait").returncode == 0
    bao.put(f"testing/{path}", password="good-2")
    done = web.command("status", "--wait", "100s")
    assert done.returncode == 0, done.stdout
    assert (web.directory / "app.env").read_text() == "PASSWORD='good-2'\n"
    assert done.stdout == "web is ready with the newest secrets, generation 2\n"


def test_an_app_that_is_not_ready_is_named_with_what_it_keeps(bao, web, path):
    web.start()
    assert web.command("status", "--wait").returncode == 0
    bao.put(f"testing/{path}", password="bad")
    done = web.command("status", "--wait", "100s")
    assert done.returncode == 1
    assert "web: NOT READY: rolled_back: " in done.stdout
    assert "; it keeps generation 1\n" in done.stdout
    assert done.stdout.endswith("\nnot ready\n")
    # Without a new value, the failure stays one; with a new one it is forgotten.
    assert web.command("status", "--wait", "100s").returncode == 1
    bao.put(f"testing/{path}", password="good-3")
    assert web.command("status", "--wait", "100s").returncode == 0


def test_an_agent_that_cannot_read_vault_is_not_taken_for_ready(bao, web):
    """Its apps have files, but nothing shows that they are the newest."""
    with Proxy(bao.port) as proxy:
        web.config["vault"]["address"] = proxy.address
        web.write_config()
        web.start()
        assert web.command("status", "--wait").returncode == 0
        proxy.fault = Fault.REFUSE
        done = web.command("status", "--wait", "1s")
    assert done.returncode == 1
    assert "web: NOT READY: " in done.stdout
    assert "not ready after 1 s" in done.stdout


def test_without_an_agent_it_says_so(web):
    done = web.command("status", "--wait", "0s")
    assert done.returncode == 1
    assert "no agent answers" in done.stdout
