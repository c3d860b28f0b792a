"""Attacks on the responses: hostile names in the log, a local user at the socket and the approvals, and a flood."""

import os
import random
import shutil
import signal
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from e2e.responses import (
    RULE,
    approvals,
    client_of,
    disable,
    hook,
    lessee,
    pending,
    reported,
    responder,
    revoke,
    server,
)
from lessee.host.inotify import Inotify
from lessee.status.client import request_status
from support.programs.monitor import Audited
from support.programs.responses import DENIED, READER, Client, Responder
from support.programs.sidecar import eventually

__all__ = ["approvals", "hook", "responder", "server"]
"""Fixtures."""
CREATOR = 'path "auth/token/create" { capabilities = ["update"] }'
RAW = 'audit "file" "tests" { options { file_path = "%s" hmac_accessor = "false" } }'
REQUEST = ["id", "response", "action", "target", "rule", "subject", "dry_run", "expires"]
NAMES = [
    "victim\naction: emergency\ntarget: of production: database",
    "victim\r\n\x1b[2J\x1b[31mdone\x07",
    "victim\u202e\u2028\u2029\x85",
    "victim: 3 denials; revoke-token token a1 (victim): done; undo: lessee monitor undo r000000000000",
    '"><script>alert(1)</script>{{7*7}}$(touch /tmp/x)`id`',
    "victim" * 2000,
]


def token_named(server, creator, name):
    body = {"meta": {"role_name": name}, "display_name": name[:200], "policies": ["namer"]}
    return Client(
        server, token=server.ask("POST", "auth/token/create", body, token=creator.token)["auth"]["client_token"]
    )


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_hostile_name_forges_no_request_and_strikes_only_its_own_token(server, hook, responder, approvals, name):
    victim, namer = client_of(server, "victim"), client_of(server, "namer", READER + CREATOR)
    command = {"rule": RULE, "action": "command", "command": ["sh", "-c", 'printf %s "$LESSEE_ALERT_SUBJECT"']}
    monitor = responder(revoke(approval="required"), disable(), command, **approvals).start()
    forger = token_named(server, namer, name)
    victim.offend(DENIED - 1)
    forger.offend()
    response, request = pending(monitor)
    head, *lines, last = request.split("\n")
    assert (head, [line.partition(": ")[0] for line in lines], last) == ("lessee response", REQUEST, "")
    assert all(line.isprintable() for line in lines)
    assert "(auth/token/create)" in lines[REQUEST.index("target")]
    eventually(lambda: [one for one in monitor.recent() if one["action"] == "command"], "the program")
    code, plain = lessee(monitor, "status", "--config", "lessee.yaml")
    assert code == 0
    assert all(line.isprintable() for line in plain.split("\n"))
    assert "<script>alert" not in monitor.get("/")[1]
    # The name is in the first line, and a client can write no line of its own.
    eventually(hook.alerts, "the alert")
    first, *others = hook.alerts()[-1]["text"].split("\n")
    assert "denials" in first
    assert 1 <= len(others) <= 3, "one for each response that ended while the alert waited for it"
    assert not any("r000000000000" in one or "victim" in one for one in others)
    key_file = str(monitor.disk.parent / "alice")
    code, output = lessee(
        monitor, "monitor", "--config", "lessee.yaml", "approve", response, "--yes", "--key-file", key_file
    )
    assert code == 0, output
    eventually(lambda: not forger.is_alive, "the approved response")
    assert (victim.is_alive, namer.is_alive) == (True, True)
    assert client_of(server, "victim").is_alive
    assert used(monitor) == {f"revoke-token.{RULE}": 1, f"command.{RULE}": 1}


@pytest.fixture
def raw_server(tmp_path_factory):
    """Its log has accessors in plain text."""
    folder = tmp_path_factory.mktemp("raw")
    with Audited(folder, config=RAW % (folder / "audit.log")) as one:
        one.ask("POST", "sys/auth/approle", {"type": "approle"})
        yield one


@pytest.mark.thorough
@pytest.mark.parametrize("device", [None, "tests"])
def test_a_token_of_another_namespace_is_not_struck_and_the_alert_says_why(
    server, raw_server, hook, tmp_path, memory, device
):
    used = raw_server if device is None else server
    name = f"crew-{device}"
    used.ask("POST", f"sys/namespaces/{name}")
    used.ask("POST", f"{name}/sys/auth/approle", {"type": "approle"})
    used.ask("POST", f"{name}/auth/approle/role/foreign", {"token_ttl": "1h"})
    role_id = used.ask("GET", f"{name}/auth/approle/role/foreign/role-id")["data"]["role_id"]
    secret_id = used.ask("POST", f"{name}/auth/approle/role/foreign/secret-id", {})["data"]["secret_id"]
    login = used.ask("POST", f"{name}/auth/approle/login", {"role_id": role_id, "secret_id": secret_id}, token="")
    monitor = Responder(used, tmp_path / "monitor", memory / "monitor", hook, actions=[revoke()], audit_device=device)
    try:
        monitor.start()
        for _ in range(DENIED):
            with suppress(RuntimeError):
                used.ask("GET", f"{name}/secret/data/none", token=login["auth"]["client_token"])
        text = reported(hook, f"{name}/foreign")
        assert "it belongs to another namespace than the monitor's login" in text
        assert " failed: " not in text
        assert monitor.recent() == []
        assert monitor.status()["problems"] == []
        assert used.ask("GET", f"{name}/auth/token/lookup-self", token=login["auth"]["client_token"])["data"]
    finally:
        monitor.close()


def sign(folder, key, content, name):
    text = folder / "signed"
    text.write_text(content)
    (folder / "signed.sig").unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", name, "-f", folder / key, text], check=True)
    return (folder / "signed.sig").read_bytes()


def rejections(monitor):
    return {one["id"]: one["rejected"] for one in monitor.status()["responses"]["pending"]}


class Looks:
    """Each look of the monitor for the approval of a response that waits without one: it opens this file."""

    _IN_OPEN = 0x20

    def __init__(self, monitor, folder, decoy):
        self.monitor, self._decoy, self.count = monitor, decoy, 0
        (folder / decoy).write_text("no signature")
        self._inotify = Inotify()
        self._inotify.watch(folder, self._IN_OPEN)

    def until_two(self):
        """Between two looks for the decoy it has looked for all others. Meanwhile the socket gets many requests."""
        self.count = 0
        eventually(self._has_looked, "two looks for approvals")

    def _has_looked(self):
        request_status(self.monitor.socket, "POST", "/refresh", [])
        with suppress(BlockingIOError):
            self.count += sum(name == self._decoy.encode() for _, name in self._inotify.read())
        return self.count >= 2

    def close(self):
        self._inotify.close()


@pytest.mark.thorough
def test_a_local_user_who_reaches_the_approvals_and_the_socket_forges_and_replays_nothing(
    server, responder, approvals, tmp_path
):
    """Everything that a directory that all users may write lets them do."""
    folder, name = tmp_path / "approvals", "lessee-response"
    folder.chmod(0o1777)
    first, second = client_of(server, "first"), client_of(server, "second")
    decoy = {"rule": RULE, "action": "command", "command": ["touch", str(tmp_path / "ran")], "approval": "required"}
    monitor = responder(revoke(approval="required", max_per_hour=2), decoy, **approvals).start()
    first.offend()
    eventually(lambda: len(monitor.recent()) == 2, "both requests")
    waiting = {one["response"]: one for one in monitor.status()["responses"]["pending"]}
    response, request = (waiting[f"revoke-token.{RULE}"][key] for key in ("id", "request"))
    looks = Looks(monitor, folder, f"{waiting[f'command.{RULE}']['id']}.sig")
    file, good = folder / f"{response}.sig", sign(tmp_path, "alice", request, name)
    (tmp_path / "elsewhere").write_bytes(good)
    hostile = {
        "a pipe": lambda: os.mkfifo(file),
        "a huge file": lambda: (file.touch(), os.truncate(file, 1 << 34)),
        "a link": lambda: file.symlink_to(tmp_path / "elsewhere"),
        "another namespace": lambda: file.write_bytes(sign(tmp_path, "alice", request, "file")),
        "a stranger": lambda: file.write_bytes(sign(tmp_path, "mallory", request, name)),
        "a longer life": lambda: file.write_bytes(
            sign(tmp_path, "alice", request.replace("expires: ", "expires: 9"), name)
        ),
        "another target": lambda: file.write_bytes(
            sign(tmp_path, "alice", request.replace("target: ", "target: x"), name)
        ),
        "a part": lambda: file.write_bytes(good[: len(good) // 2]),
        "twice": lambda: file.write_bytes(good + good),
    }
    for what, put in hostile.items():
        put()
        looks.until_two()
        assert first.is_alive, what
        assert monitor.counted() == [], what
        assert rejections(monitor)[response], what
        file.unlink()
    file.mkdir()
    looks.until_two()
    # People learn what is in their way.
    code, output = lessee(
        monitor, "monitor", "--config", "lessee.yaml", "approve", response, "--yes", "--key-file",
        str(tmp_path / "alice"),
    )  # fmt: skip
    assert (code, f"cannot write the approval: Is a directory: {file}" in output or str(file) in output) == (73, True)
    file.rmdir()
    file.write_bytes(good)
    eventually(lambda: not first.is_alive, "the response that alice approved")
    second.offend()
    eventually(lambda: len(monitor.recent()) == 3, "the request for the second")
    [other] = [one["id"] for one in monitor.recent() if one["event"] == "asked" and one["action"] == "revoke-token"]
    # The signature of the first is no approval of the second, nor again one of the first, also after a kill.
    shutil.copy(file, folder / f"{other}.sig")
    looks.until_two()
    monitor.process.send_signal(signal.SIGKILL)
    monitor.process.wait()
    monitor.start()
    looks.until_two()
    looks.close()
    assert second.is_alive
    assert [one["id"] for one in monitor.counted()] == [response]
    assert not (tmp_path / "ran").exists()


@pytest.mark.thorough
def test_a_flood_with_kills_and_reloads_exceeds_no_budget_and_strikes_no_innocent(server, responder, tmp_path):
    """Many tokens, many paths, three responses of one rule: each has its own budget, over all restarts."""
    ran = tmp_path / "ran"
    command = {"rule": RULE, "action": "command", "command": ["sh", "-c", f"echo >> {ran}"], "max_per_hour": 2}
    offenders = {f"flood-{number}": client_of(server, f"flood-{number}") for number in range(40)}
    innocent = {f"calm-{number}": client_of(server, f"calm-{number}") for number in range(20)}
    monitor = responder(revoke(max_per_hour=3), disable(max_per_hour=1), command)
    server.ask("POST", "secret/data/production/calm", {"data": {"a": "b"}})
    monitor.config["monitor"]["alerts"]["resolve_timeout"] = "0s"
    monitor.start()
    draw, done = random.Random(28), threading.Event()  # noqa: S311  # It only chooses moments of kills.

    def flood(name):
        while not done.is_set():
            for number in range(DENIED * 3):
                with suppress(RuntimeError):
                    server.ask("GET", f"secret/data/testing/{name}/{number}", token=offenders[name].token)

    def stay_calm(name):
        while not done.is_set():
            for number in range(DENIED - 1):
                with suppress(RuntimeError):
                    server.ask("GET", f"secret/data/testing/{name}/{number}", token=innocent[name].token)
            server.ask("GET", "secret/data/production/calm", token=innocent[name].token)

    with ThreadPoolExecutor(12) as pool:
        work = [pool.submit(flood, name) for name in list(offenders)[:8]]
        work += [pool.submit(stay_calm, name) for name in list(innocent)[:4]]
        try:
            for round_number in range(6):
                eventually(lambda: monitor.source()["lines"], "the monitor reads")
                monitor.config["monitor"]["alerts"]["repeat_interval"] = f"{round_number + 100}s"
                monitor.write_config()
                until_restarted(monitor, draw.random())
            eventually(lambda: used(monitor)[f"revoke-token.{RULE}"] == 3, "the budget is used")
            eventually(lambda: used(monitor)[f"disable-role.{RULE}"] == 1, "the other one too")
        finally:
            done.set()
        for one in work:
            one.result()
    for name in list(offenders)[8:]:
        offenders[name].offend()
    eventually(lambda: monitor.source()["lag_bytes"] == 0, "the end of the log")
    assert used(monitor)[f"revoke-token.{RULE}"] == 3
    assert used(monitor)[f"disable-role.{RULE}"] == 1
    assert used(monitor)[f"command.{RULE}"] <= 2
    assert not ran.exists() or ran.read_text().count("\n") <= 2
    assert sum(not client.is_alive for client in offenders.values()) <= 3
    assert all(client.is_alive for client in innocent.values())
    roles = [server.ask("GET", f"auth/approle/role/{name}")["data"] for name in (*offenders, *innocent)]
    assert sum(bool(role["secret_id_bound_cidrs"]) for role in roles) <= 1
    assert all(one["role"] in offenders for one in monitor.counted() if one["role"])


def used(monitor):
    return Counter(one["response"] for one in monitor.counted())


def until_restarted(monitor, draw):
    """Kill it at any moment of its work, and start it again."""
    threading.Event().wait(0.2 + draw)
    monitor.process.send_signal(signal.SIGKILL)
    monitor.process.wait()
    monitor.start()
