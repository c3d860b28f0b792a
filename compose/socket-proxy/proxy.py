"""Shows, restarts and signals the containers of one Compose project, and lets nothing else through to the Engine."""

# ruff: noqa: INP001, T201  # A program on its own, whose log goes to stdout.
# ruff: noqa: ASYNC240  # Nobody waits yet while it starts.

import asyncio
import json
import os
import re
import signal
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

ENGINE = os.environ.get("ENGINE_SOCKET", "/var/run/docker.sock")
LISTEN = os.environ.get("LISTEN", "unix:///run/socket-proxy/docker.sock")  # or tcp://ADDRESS:PORT
PROJECT = "com.docker.compose.project"
SIGNALS = {"HUP", "USR1", "USR2", "WINCH"}  # None of them ends an app that is written to be reloaded.
PATIENCE = 15  # seconds; over that, a restart may take the grace that it was given
CLIENTS, HEAD, ANSWER = 32, 8192, 16 << 20  # at a time; bytes; bytes
LINE = re.compile(r"(GET|POST) (/[!-~]*) HTTP/1\.[01]")
FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~]*)")
PATH = re.compile(r"(/v1\.[0-9]{1,3})?/(_ping|version|containers/(?:[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}/)?[a-z]+)")


class RefusedError(Exception):  # It reads as the sentence it is.
    """Why, and with what status."""

    def __init__(self, why: str, status: int = HTTPStatus.FORBIDDEN) -> None:
        super().__init__(why)
        self.status = status


async def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # PID 1 would ignore it, and there is nothing to be saved.
    own = own_id(Path("/proc/self/mountinfo").read_text())
    gate = Gate(own, os.environ.get("COMPOSE_PROJECT_NAME") or await project_of(own))
    scheme, _, address = LISTEN.partition("://")
    if scheme == "unix":
        Path(address).unlink(missing_ok=True)
        server = await asyncio.start_unix_server(gate.serve, address, limit=HEAD)
        Path(address).chmod(0o666)  # Who may enter its folder, may use it.
    else:
        host, _, port = address.rpartition(":")
        server = await asyncio.start_server(gate.serve, host, int(port), limit=HEAD)
    print(f"serving project {gate.project} at {LISTEN}", flush=True)
    await server.serve_forever()


def own_id(mountinfo: str) -> str:
    """The Engine mounts three files into each container from a folder that is called by its id."""
    found = re.search(r"/([0-9a-f]{64})/\S+ /etc/(?:hostname|hosts|resolv\.conf) ", mountinfo)
    return found[1] if found else ""


async def project_of(own: str) -> str:
    status, body = await ask("GET", f"/containers/{own}/json") if own else (HTTPStatus.NOT_FOUND, b"")
    found = json.loads(body)["Config"]["Labels"].get(PROJECT) if status == HTTPStatus.OK else None
    return str(found) if found else sys.exit("of which Compose project? Name it in COMPOSE_PROJECT_NAME")


class Gate:
    def __init__(self, own: str, project: str) -> None:
        self.own, self.project = own, project
        self.clients = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection, so that nothing can hide behind it."""
        self.clients += 1
        line, status = "-", 500
        try:
            line, *fields = await self.hear(reader)
            status, body = await self.answer(*understood(line, fields))
        except RefusedError as exc:
            status, body = exc.status, as_json({"message": f"socket-proxy: {exc}"})
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            status, body = HTTPStatus.BAD_REQUEST, as_json({"message": "socket-proxy: no whole request came in time"})
        except (OSError, ValueError, LookupError, TypeError):
            status, body = HTTPStatus.BAD_GATEWAY, as_json({"message": "socket-proxy: the Engine does not answer well"})
        finally:
            self.clients -= 1
        print(f"{ascii(line[:200])[1:-1]} {status:d}", flush=True)
        await send(writer, status, body)

    async def hear(self, reader: asyncio.StreamReader) -> list[str]:
        if self.clients > CLIENTS:
            raise RefusedError("too many requests at a time", HTTPStatus.SERVICE_UNAVAILABLE)
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
        return head[:-4].decode("latin-1").split("\r\n")

    async def answer(self, method: str, version: str, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        match method, path.split("/"):
            case "GET", ["_ping" | "version"] if not query:
                status, body = await ask("GET", f"{version}/{path}")
                keep = ("Version", "ApiVersion", "MinAPIVersion")
                return status, b"OK" if path == "_ping" else as_json(only(json.loads(body), *keep))
            case "GET", ["containers", "json"] if query.keys() <= {"all", "filters", "limit", "size", "trunc_cmd"}:
                everyone = int(query.get("all") in {"1", "true", "True"})
                wanted = urlencode({"all": everyone, "filters": self.filters(query.get("filters", "{}"))})
                status, body = await ask("GET", f"{version}/containers/json?{wanted}")
                return status, as_json([row(one) for one in json.loads(body) if self.is_ours(one)])
            case "GET", ["containers", which, "json"] if not query:
                return HTTPStatus.OK, as_json(details(await self.inspect(version, which)))
            case "POST", ["containers", which, "restart"] if query.keys() <= {"t"}:
                seconds = query.get("t", "10")
                if not re.fullmatch("[0-9]{1,4}", seconds):
                    raise RefusedError("t is a number of seconds")
                return await self.act(version, which, f"restart?t={seconds}", PATIENCE + int(seconds))
            case "POST", ["containers", which, "kill"] if query.keys() == {"signal"}:
                name = query["signal"].removeprefix("SIG")
                if name not in SIGNALS:
                    raise RefusedError(f"of signals, it sends {', '.join(sorted(SIGNALS))} alone")
                return await self.act(version, which, f"kill?signal=SIG{name}", PATIENCE)
        raise RefusedError("this is not let through")

    async def inspect(self, version: str, which: str) -> dict[str, Any]:
        status, body = await ask("GET", f"{version}/containers/{which}/json")
        found = json.loads(body) if status == HTTPStatus.OK else None
        # Of other projects, not even the names are told.
        if found is None or not self.is_ours(found["Config"]):
            raise RefusedError(f"project {self.project} has no such container", HTTPStatus.NOT_FOUND)
        return dict(found)

    async def act(self, version: str, which: str, how: str, patience: float) -> tuple[int, bytes]:
        # By the id of what was judged: a name may pass to another meanwhile.
        full = (await self.inspect(version, which))["Id"]
        if full == self.own:
            raise RefusedError("it lets nobody touch itself")
        status, body = await ask("POST", f"{version}/containers/{full}/{how}", patience)
        return status, body if status == HTTPStatus.NO_CONTENT else as_json({"message": f"the Engine: {status}"})

    def filters(self, asked: str) -> str:
        try:
            match json.loads(asked):
                case {"label": list() | dict() as labels, **others} if not others:
                    return json.dumps({"label": [f"{PROJECT}={self.project}", *map(str, labels)]})
                case {**others} if not others:
                    return json.dumps({"label": [f"{PROJECT}={self.project}"]})
        except (ValueError, RecursionError):
            pass
        raise RefusedError("it filters by label alone")

    def is_ours(self, labelled: dict[str, Any]) -> bool:
        return (labelled["Labels"] or {}).get(PROJECT) == self.project


def understood(line: str, fields: list[str]) -> tuple[str, str, str, dict[str, str]]:
    """Method, version, path and query of a request in whose meaning no two readers could differ."""
    asked = LINE.fullmatch(line)
    headers = [FIELD.fullmatch(field) for field in fields]
    if asked is None or not all(headers):
        raise RefusedError("this is no plain request")
    for header in filter(None, headers):
        name, value = header[1].lower(), header[2].strip()
        if name in {"transfer-encoding", "upgrade", "expect"} or (name == "content-length" and value != "0"):
            raise RefusedError("it takes no body and no upgrade")
    target, _, query = asked[2].partition("?")
    path = PATH.fullmatch(target)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=8) if query else []
    except ValueError:
        pairs = [("", ""), ("", "")]
    if path is None or len(dict(pairs)) < len(pairs):
        raise RefusedError("this is not let through")
    return asked[1], path[1] or "", path[2], dict(pairs)


async def ask(method: str, path: str, patience: float = PATIENCE) -> tuple[int, bytes]:
    """HTTP/1.0, so that the answer ends with the connection and comes in no chunks."""
    async with asyncio.timeout(patience):
        reader, writer = await asyncio.open_unix_connection(ENGINE)
        try:
            writer.write(f"{method} {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            answer = b""
            while piece := await reader.read(1 << 16):
                answer += piece
                if len(answer) > ANSWER:
                    raise ValueError
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


async def send(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    kind = "application/json" if body[:1] in {b"{", b"["} else "text/plain"
    head = f"HTTP/1.1 {status:d} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    length = "" if status == HTTPStatus.NO_CONTENT else f"Content-Length: {len(body)}\r\n"
    try:
        writer.write(f"{head}{length}\r\n".encode() + body)
        async with asyncio.timeout(PATIENCE):
            await writer.drain()
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()


def row(one: dict[str, Any]) -> dict[str, Any]:
    """Of the list."""
    host = {"HostConfig": only(one.get("HostConfig", {}), "NetworkMode")}
    return only(one, "Id", "Names", "State", "Status") | {"Labels": labels(one)} | host


def details(one: dict[str, Any]) -> dict[str, Any]:
    """No environment, no command, no mounts."""
    return only(one, "Id", "Name") | {
        "State": only(one["State"], "Status", "Running", "Restarting", "StartedAt", "Pid"),
        "Config": only(one["Config"], "StopSignal") | {"Labels": labels(one["Config"])},
        "HostConfig": only(one["HostConfig"], "RestartPolicy"),
    }


def labels(labelled: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in labelled["Labels"].items() if name.startswith("com.docker.compose.")}


def only(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: answer[name] for name in names if name in answer}


def as_json(answer: object) -> bytes:
    return json.dumps(answer).encode()


if __name__ == "__main__":
    asyncio.run(main())
