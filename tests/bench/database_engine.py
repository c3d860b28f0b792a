"""Kills OpenBao's database engine between PostgreSQL's commit of a new password and its own."""

import socket
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from database import seconds_until
from rig import MEMORY, TIMEOUT, report

from support.servers.cluster import Cluster
from support.servers.postgres import DATABASE, Postgres

_ROLE = "held"
_USER = "held-user"


def seconds_until_it_works(cap: float) -> float | None:
    """Seconds from the server's restart until its password of a static role works; None after `cap` seconds."""
    with (
        tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder,
        Postgres(Path(folder)) as postgres,
        Cluster(Path(folder), nodes=1) as bao,
        _CommitProxy(postgres.port) as proxy,
    ):
        _attach(bao, postgres, proxy)
        before = _password(bao)
        if not postgres.can_log_in(_USER, before):
            raise RuntimeError("the password does not work before the kill")
        proxy.holds = True
        threading.Thread(target=_rotate, args=(bao,), daemon=True).start()
        if not proxy.committed.wait(TIMEOUT):
            raise RuntimeError("the engine commits nothing")
        bao.stop(0)
        proxy.holds = False
        if postgres.can_log_in(_USER, before):
            raise RuntimeError("PostgreSQL has not committed")
        began = time.monotonic()
        bao.start(0)
        bao.active()
        took = seconds_until(lambda: postgres.can_log_in(_USER, _password(bao)), began, cap)
        report(f"OpenBao's engine: it has {'the old' if _password(bao) == before else 'a new'} password")
        return took


def _attach(bao: Cluster, postgres: Postgres, proxy: "_CommitProxy") -> None:
    postgres.sql(f"CREATE DATABASE {DATABASE}")
    postgres.sql(f'CREATE ROLE "{_USER}" LOGIN')
    postgres.sql("CREATE ROLE engine LOGIN SUPERUSER PASSWORD 'engine'")
    bao.ask(0, "POST", "sys/mounts/database", {"type": "database"})
    connection = {
        "plugin_name": "postgresql-database-plugin",
        "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{proxy.port}/{DATABASE}?sslmode=disable",
        "username": "engine",
        "password": "engine",
        "allowed_roles": "*",
    }
    bao.ask(0, "POST", f"database/config/{DATABASE}", connection)
    role = {"db_name": DATABASE, "username": _USER, "rotation_period": "24h"}
    bao.ask(0, "POST", f"database/static-roles/{_ROLE}", role)


def _password(bao: Cluster) -> str:
    return str(bao.ask(0, "GET", f"database/static-creds/{_ROLE}")["data"]["password"])


def _rotate(bao: Cluster) -> None:
    with suppress(OSError, RuntimeError):  # The server is killed, or the request times out.
        bao.ask(0, "POST", f"database/rotate-role/{_ROLE}", {})


class _CommitProxy:
    """Forwards to PostgreSQL. While `holds` is true, it drops the response to a COMMIT."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.holds = False
        self.committed = threading.Event()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):  # It is closed.
            while True:
                near, far = self._server.accept()[0], socket.create_connection(("127.0.0.1", self._target))
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with source, sink, suppress(OSError):
            while data := source.recv(65536):
                # CommandComplete of the protocol, which only the server sends.
                if self.holds and b"C\x00\x00\x00\x0bCOMMIT\x00" in data:
                    self.committed.set()
                else:
                    sink.sendall(data)
