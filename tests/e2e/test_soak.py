"""A soak: one agent is broken in every way, one after the other, in an order that a seed decides.

Whether it is well is asked of others: the files themselves, the app, PostgreSQL, and the certificate. `make soak` does
it for hours; without SOAK_MINUTES each fault happens once. A failure names the seed and the faults before it.
"""

import os
import random
import re
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from support.programs.movable_clock import movable_clock
from support.programs.sidecar import Sidecar, eventually, pass_by
from support.servers.fault_proxy import Fault, Proxy, Status

POLICY = """
path "database/creds/*"  { capabilities = ["read"] }
path "pki/issue/web"     { capabilities = ["update"] }
path "secret/*"          { capabilities = ["read", "list"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""
ROLE = {"token_ttl": "20s", "token_max_ttl": "60s"}
KV = 'A={{ secret("db").password }}\nB={{ secret("other").password }}\n'
CREDS = '{% set db = dynamic("database/creds/soak") %}{{ db.username }} {{ db.password }}\n'
CERT = 'certificate("pki/issue/web", common_name="web.local", ttl="2h")'
APP = """
import ctypes, signal, sys, time
ctypes.CDLL(None).prctl(15, b"lessee-soak", 0, 0, 0)  # PR_SET_NAME
def note(*_):
    with open(sys.argv[1]) as file, open(sys.argv[2], "a") as heard:
        heard.write(file.read())
signal.signal(signal.SIGHUP, note)
note()
while True:
    time.sleep(0.05)
"""
SERVER_FAULTS = [Fault.REFUSE, Fault.DROP, Fault.HANG, Fault.CUT, Fault.RUBBISH, *map(Status, (429, 500, 502, 503))]
PATHS = ("auth/token/", "secret/", "database/creds", "sys/leases/renew", "pki/issue", "auth/approle/login")
GROWTH = 8 * 1024
"""KiB by which the agent's own memory may grow in all."""
OPEN_FILES = THREADS = 80


class Soak:
    """The agent, its app, and who watches them."""

    def __init__(self, server, postgres, proxy, agent, *, seed, longest):
        """`longest`: seconds that a fault lasts at most."""
        self.random = random.Random(seed)  # noqa: S311  # The same seed is the same soak.
        self.server, self.postgres, self.proxy, self.agent = server, postgres, proxy, agent
        self.longest, self.number, self.steps = longest, 0, []
        self.heard, self.pid_file = agent.disk / "heard", agent.disk / "app.pid"
        self.app, self.ahead, self.set_clock = None, 0, movable_clock(agent)
        self.write()
        agent.log_in_by_approle(server, POLICY)
        server.ask("POST", f"auth/approle/role/{agent.disk.name}", ROLE)
        agent.config["vault"]["address"] = proxy.address
        for name, text in (("one.env.j2", KV), ("two.env.j2", KV), ("db.txt.j2", CREDS)):
            agent.template(name, text)
        agent.web["notify"] = {"process": {"pid_file": str(self.pid_file)}, "action": "SIGHUP"}
        for name, text in (
            ("tls.crt.j2", "{{ " + CERT + ".certificate }}\n"),
            ("tls.key.j2", "{{ " + CERT + ".private_key }}\n"),
        ):
            (agent.disk / name).write_text(text)
        files = [{"template": "tls.crt.j2"}, {"template": "tls.key.j2"}]
        self.tls = agent.memory / "tls"
        agent.config["apps"]["tls"] = {"directory": str(self.tls), "files": files, "on_expiry": "remove"}
        agent.start(wait=False)
        eventually(lambda: self.has(agent.directory / "one.env", "A='p1'"), "the first files")
        self.start_app()
        self.is_well()
        self.certificate, self.base = self.issued(), self.memory()

    def close(self):
        self.agent.close()
        if self.app is not None:
            self.app.kill()
            self.app.wait()

    # What happens to it.

    def write(self):
        """Change both secrets, one after the other, as an operator does."""
        self.number += 1
        for name in ("db", "other"):
            self.server.put(f"testing/{name}", password=f"p{self.number}")

    def pause(self):
        """Let the fault last, and change the secrets meanwhile."""
        for _ in range(2):
            pass_by(self.random.uniform(0.1, self.longest / 2))
            self.write()

    def start_app(self):
        command = [sys.executable, "-c", APP, str(self.agent.directory / "one.env"), str(self.heard)]
        self.app = subprocess.Popen(command)
        eventually(lambda: Path(f"/proc/{self.app.pid}/comm").read_text() == "lessee-soak\n", "the app")
        self.pid_file.write_text(f"{self.app.pid}\n")
        # Its time is that of the clock that the agent has, and was not set since.
        os.utime(self.pid_file, (time.time() + self.ahead,) * 2)

    def outage(self):
        self.proxy.fault = self.random.choice(SERVER_FAULTS)
        self.steps[-1] += f" {self.proxy.fault}"
        self.pause()
        self.proxy.clear()

    def broken_path(self):
        path, fault = self.random.choice(PATHS), self.random.choice(SERVER_FAULTS[1:])
        self.steps[-1] += f" {path} {fault}"
        self.proxy.on_path(path, fault)
        self.pause()
        self.proxy.clear()

    def outage_with_a_broken_path_that_stays(self):
        """The server is back, and one path about the token is not: all else is well."""
        self.proxy.on_path("auth/token/lookup-self", Status(503))
        self.outage_of_all_else()
        self.is_well(fresh=False)
        self.proxy.clear()

    def outage_of_all_else(self):
        self.proxy.fault = Fault.DROP
        self.pause()
        self.proxy.fault = None

    def kill(self):
        self.agent.process.kill()
        self.agent.process.wait()
        self.write()
        self.agent.start(wait=False)

    def kill_with_a_broken_template(self):
        """The agent starts, and serves the other app."""
        template = self.agent.disk / "tls.crt.j2"
        good = template.read_text()
        template.write_text("{{ nothing( }}\n")
        self.kill()
        self.is_well(fresh=False)
        template.write_text(good)
        self.agent.process.send_signal(signal.SIGHUP)

    def suspend(self):
        os.kill(self.agent.pid, signal.SIGSTOP)
        self.pause()
        os.kill(self.agent.pid, signal.SIGCONT)

    def reload(self):
        self.agent.process.send_signal(signal.SIGHUP)
        self.pause()

    def restart_app(self):
        self.app.kill()
        self.app.wait()
        self.pause()
        self.start_app()

    def revoke_tokens(self):
        for accessor in self.server.ask("LIST", "auth/token/accessors")["data"]["keys"]:
            with suppress(Exception):  # It has ended, or it is this test's own.
                token = self.server.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
                if token["path"].startswith("auth/approle"):
                    self.server.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
        self.write()

    def set_the_clock(self):
        self.ahead = self.random.choice([-7200, -5, 0, 5, 7200])
        self.set_clock(self.ahead)
        self.pause()

    # Whether it is well.

    def is_well(self, *, fresh=True):
        """Its files have the newest values, its app has heard of them, and its credentials work."""
        want = f"A='p{self.number}'\nB='p{self.number}'\n"
        for name in ("one.env", "two.env"):
            eventually(lambda name=name: self.has(self.agent.directory / name, want), f"{want} in {name}{self.story()}")
        eventually(lambda: self.heard.read_text().endswith(want), f"the app's {want}{self.story()}")
        eventually(self.can_log_in, f"a login with the credentials{self.story()}")
        if fresh:
            self.agent.until(lambda s: s["ready"] and s["fresh"] and not s["problems"])
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            folder = (self.tls / "..data").resolve()
            context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
            assert self.issued().not_valid_after_utc > datetime.now(UTC)

    def has(self, path, text):
        with suppress(FileNotFoundError):
            return text in path.read_text()
        return False

    def can_log_in(self):
        return self.postgres.can_log_in(*(self.agent.directory / "db.txt").read_text().split())

    def issued(self):
        return x509.load_pem_x509_certificates((self.tls / "tls.crt").read_bytes())[0]

    def memory(self):
        """KiB that are the agent's own."""
        return int(re.search(r"Private_Dirty: +(\d+)", Path(f"/proc/{self.agent.pid}/smaps_rollup").read_text())[1])

    def is_small(self):
        """It has no more threads, files and memory than at the beginning, but for what a fault needs."""
        proc = Path(f"/proc/{self.agent.pid}")
        assert len(list((proc / "fd").iterdir())) < OPEN_FILES, self.story()
        eventually(lambda: len(list((proc / "task").iterdir())) < THREADS, f"few threads{self.story()}")
        assert self.memory() < self.base + GROWTH, self.story()

    def story(self):
        return f" after {self.steps}\n{self.agent.log.read_text()[-3000:]}"


FAULTS = (
    Soak.outage,
    Soak.broken_path,
    Soak.outage_with_a_broken_path_that_stays,
    Soak.kill,
    Soak.kill_with_a_broken_template,
    Soak.suspend,
    Soak.reload,
    Soak.restart_app,
    Soak.revoke_tokens,
    Soak.set_the_clock,
)


class Watcher(threading.Thread):
    """Reads two files of one generation as fast as it can: they are never mixed, cut or missing."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        self._directory, self._done = directory, threading.Event()
        self.reads, self.wrong = 0, []

    def run(self):
        while not self._done.wait(0.002):
            try:
                folder = os.open(self._directory / "..data", os.O_RDONLY | os.O_DIRECTORY)
                try:
                    one, two = (self._read(name, folder) for name in ("one.env", "two.env"))
                finally:
                    os.close(folder)
            except OSError as exc:
                self.wrong.append(repr(exc))
            else:
                self.reads += 1
                if one != two or one.count("'") != KV.count("{{") * 2:
                    self.wrong.append((one, two))

    def _read(self, name, folder):
        with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=folder)) as file:
            return file.read()

    def stop(self):
        self._done.set()
        self.join()


def report(line):
    sys.stderr.write(f"{line}\n")


@pytest.fixture
def soak(server, postgres, tmp_path, memory):
    before = set(postgres.roles("v-%"))
    postgres.attach(server, role="soak", default_ttl="2m", max_ttl="4m")
    server.ask("POST", "sys/mounts/pki", {"type": "pki"})
    server.ask("POST", "pki/root/generate/internal", {"common_name": "test CA", "ttl": "24h"})
    server.ask("POST", "pki/roles/web", {"allow_any_name": True, "ttl": "2h"})
    seed, minutes = os.environ.get("SOAK_SEED") or secrets.randbelow(2**32), os.environ.get("SOAK_MINUTES")
    report(f"SOAK_SEED={seed}")
    with (
        Proxy(server.port) as proxy,
        closing(Sidecar(proxy.address, tmp_path, memory)) as agent,
        closing(Soak(server, postgres, proxy, agent, seed=int(seed), longest=40.0 if minutes else 2.0)) as soak,
    ):
        soak.minutes = float(minutes or 0)
        yield soak
    server.ask("POST", "sys/leases/revoke-prefix/database/creds", {"sync": True})
    assert set(postgres.roles("v-%")) <= before


def test_whatever_happens_to_an_agent_it_is_well_again_and_its_files_are_whole(soak):
    began, watcher = time.monotonic(), Watcher(soak.agent.directory)
    watcher.start()
    while not soak.steps or time.monotonic() - began < soak.minutes * 60:
        for fault in soak.random.sample(FAULTS, len(FAULTS)):
            soak.steps.append(fault.__name__)
            fault(soak)
            soak.is_well()
            soak.is_small()
            assert not watcher.wrong, f"{watcher.wrong[:3]}{soak.story()}"
            report(f"{time.monotonic() - began:.0f} s, {watcher.reads:,} reads, {soak.memory()} KiB: {soak.steps[-1]}")
    watcher.stop()
    assert watcher.reads
    said = [event["event"] for event in soak.agent.events()]
    assert "internal error" not in str(said)
    # It was valid all the time, so no fault is a reason to have it issued again.
    assert soak.minutes or soak.issued() == soak.certificate
    assert soak.agent.stop() == 0
