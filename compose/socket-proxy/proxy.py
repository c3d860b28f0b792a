"""Lets a client list, restart and signal the containers of one Compose project, and denies all other requests."""

# ruff: noqa: INP001, T201  # A standalone program, which logs to stdout.
# ruff: noqa: ASYNC240  # No client waits during its start.

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
SIGNALS = {"HUP", "USR1", "USR2", "WINCH"}  # None of them stops an app that handles reloads.
TIMEOUT = 15  # seconds; a restart may also take its stop timeout
MAX_CLIENTS, MAX_REQUEST, MAX_RESPONSE = 32, 8192, 16 << 20  # the last two in bytes
REQUEST_LINE = re.compile(r"(GET|POST) (/[!-~]*) HTTP/1\.[01]")
HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~]*)")
PATH = re.compile(r"(/v1\.[0-9]{1,3})?/(_ping|version|containers/(?:[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}/)?[a-z]+)")


class DeniedError(Exception):
    """The proxy denies the request; the reason and the HTTP status of the response."""

    def __init__(self, reason: str, status: int = HTTPStatus.FORBIDDEN) -> None:
        super().__init__(reason)
        self.status = status


async def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # PID 1 ignores it by default, and there is nothing to save.
    own = own_id(Path("/proc/self/mountinfo").read_text())
    proxy = Proxy(own, os.environ.get("COMPOSE_PROJECT_NAME") or await project_of(own))
    scheme, _, address = LISTEN.partition("://")
    if scheme == "unix":
        Path(address).unlink(missing_ok=True)
        server = await asyncio.start_unix_server(proxy.serve, address, limit=MAX_REQUEST)
        Path(address).chmod(0o666)  # Everyone who may enter its folder may use it.
    else:
        host, _, port = address.rpartition(":")
        server = await asyncio.start_server(proxy.serve, host, int(port), limit=MAX_REQUEST)
    print(f"serving project {proxy.project} at {LISTEN}", flush=True)
    await server.serve_forever()


def own_id(mountinfo: str) -> str:
    """The id of this container: the Engine mounts three files into each one from a folder with its id as name."""
    found = re.search(r"/([0-9a-f]{64})/\S+ /etc/(?:hostname|hosts|resolv\.conf) ", mountinfo)
    return found[1] if found else ""


async def project_of(own: str) -> str:
    status, body = await send_to_engine("GET", f"/containers/{own}/json") if own else (HTTPStatus.NOT_FOUND, b"")
    found = json.loads(body)["Config"]["Labels"].get(PROJECT) if status == HTTPStatus.OK else None
    return str(found) if found else sys.exit("the container's Compose project was not found; set COMPOSE_PROJECT_NAME")


class Proxy:
    def __init__(self, own: str, project: str) -> None:
        self.own, self.project = own, project
        self.clients = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request per connection, so that no second request can hide behind it."""
        self.clients += 1
        line, status = "-", 500
        try:
            line, *fields = await self.read_request(reader)
            status, body = await self.respond(*parse(line, fields))
        except DeniedError as exc:
            status, body = exc.status, as_json({"message": f"socket-proxy: {exc}"})
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            status, body = HTTPStatus.BAD_REQUEST, as_json({"message": "socket-proxy: no complete request in time"})
        except (OSError, ValueError, LookupError, TypeError):
            status, body = HTTPStatus.BAD_GATEWAY, as_json({"message": "socket-proxy: invalid response of the Engine"})
        finally:
            self.clients -= 1
        print(f"{ascii(line[:200])[1:-1]} {status:d}", flush=True)
        await send(writer, status, body)

    async def read_request(self, reader: asyncio.StreamReader) -> list[str]:
        if self.clients > MAX_CLIENTS:
            raise DeniedError("too many concurrent requests", HTTPStatus.SERVICE_UNAVAILABLE)
        async with asyncio.timeout(TIMEOUT):
            head = await reader.readuntil(b"\r\n\r\n")
        return head[:-4].decode("latin-1").split("\r\n")

    async def respond(self, method: str, version: str, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        match method, path.split("/"):
            case "GET", ["_ping" | "version"] if not query:
                status, body = await send_to_engine("GET", f"{version}/{path}")
                keep = ("Version", "ApiVersion", "MinAPIVersion")
                return status, b"OK" if path == "_ping" else as_json(only(json.loads(body), *keep))
            case "GET", ["containers", "json"] if query.keys() <= {"all", "filters", "limit", "size", "trunc_cmd"}:
                stopped = int(query.get("all") in {"1", "true", "True"})
                wanted = urlencode({"all": stopped, "filters": self.filters(query.get("filters", "{}"))})
                status, body = await send_to_engine("GET", f"{version}/containers/json?{wanted}")
                return status, as_json([summary(each) for each in json.loads(body) if self.is_in_project(each)])
            case "GET", ["containers", which, "json"] if not query:
                return HTTPStatus.OK, as_json(details(await self.inspect(version, which)))
            case "POST", ["containers", which, "restart"] if query.keys() <= {"t"}:
                seconds = query.get("t", "10")
                if not re.fullmatch("[0-9]{1,4}", seconds):
                    raise DeniedError("t must be a number of seconds")
                return await self.act(version, which, f"restart?t={seconds}", TIMEOUT + int(seconds))
            case "POST", ["containers", which, "kill"] if query.keys() == {"signal"}:
                name = query["signal"].removeprefix("SIG")
                if name not in SIGNALS:
                    raise DeniedError(f"only these signals are permitted: {', '.join(sorted(SIGNALS))}")
                return await self.act(version, which, f"kill?signal=SIG{name}", TIMEOUT)
        raise DeniedError("this request is not permitted")

    async def inspect(self, version: str, which: str) -> dict[str, Any]:
        status, body = await send_to_engine("GET", f"{version}/containers/{which}/json")
        found = json.loads(body) if status == HTTPStatus.OK else None
        # The response does not reveal whether another project has the name.
        if found is None or not self.is_in_project(found["Config"]):
            raise DeniedError(f"project {self.project} has no such container", HTTPStatus.NOT_FOUND)
        return dict(found)

    async def act(self, version: str, which: str, action: str, limit: float) -> tuple[int, bytes]:
        # By the id that was checked: another container may get the name meanwhile.
        full = (await self.inspect(version, which))["Id"]
        if full == self.own:
            raise DeniedError("the proxy does not act on itself")
        status, body = await send_to_engine("POST", f"{version}/containers/{full}/{action}", limit)
        return status, body if status == HTTPStatus.NO_CONTENT else as_json({"message": f"the Engine: {status}"})

    def filters(self, requested: str) -> str:
        try:
            match json.loads(requested):
                case {"label": list() | dict() as labels, **others} if not others:
                    return json.dumps({"label": [f"{PROJECT}={self.project}", *map(str, labels)]})
                case {**others} if not others:
                    return json.dumps({"label": [f"{PROJECT}={self.project}"]})
        except (ValueError, RecursionError):
            pass
        raise DeniedError("only filters by label are permitted")

    def is_in_project(self, labelled: dict[str, Any]) -> bool:
        return (labelled["Labels"] or {}).get(PROJECT) == self.project


def parse(line: str, fields: list[str]) -> tuple[str, str, str, dict[str, str]]:
    """Method, version, path and query of a request that every parser reads in the same way."""
    request = REQUEST_LINE.fullmatch(line)
    headers = [HEADER.fullmatch(field) for field in fields]
    if request is None or not all(headers):
        raise DeniedError("the request is not in the plain form")
    for header in filter(None, headers):
        name, value = header[1].lower(), header[2].strip()
        if name in {"transfer-encoding", "upgrade", "expect"} or (name == "content-length" and value != "0"):
            raise DeniedError("a body or an upgrade is not permitted")
    target, _, query = request[2].partition("?")
    path = PATH.fullmatch(target)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=8) if query else []
    except ValueError:
        pairs = [("", ""), ("", "")]
    if path is None or len(dict(pairs)) < len(pairs):
        raise DeniedError("this request is not permitted")
    return request[1], path[1] or "", path[2], dict(pairs)


async def send_to_engine(method: str, path: str, limit: float = TIMEOUT) -> tuple[int, bytes]:
    """Send a request to the Engine, by HTTP/1.0, so that the response ends with the connection and is not chunked."""
    async with asyncio.timeout(limit):
        reader, writer = await asyncio.open_unix_connection(ENGINE)
        try:
            writer.write(f"{method} {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            response = b""
            while chunk := await reader.read(1 << 16):
                response += chunk
                if len(response) > MAX_RESPONSE:
                    raise ValueError
        finally:
            writer.close()
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


async def send(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    kind = "application/json" if body[:1] in {b"{", b"["} else "text/plain"
    head = f"HTTP/1.1 {status:d} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    length = "" if status == HTTPStatus.NO_CONTENT else f"Content-Length: {len(body)}\r\n"
    try:
        writer.write(f"{head}{length}\r\n".encode() + body)
        async with asyncio.timeout(TIMEOUT):
            await writer.drain()
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()


def summary(container: dict[str, Any]) -> dict[str, Any]:
    """A container in the list."""
    host = {"HostConfig": only(container.get("HostConfig", {}), "NetworkMode")}
    return only(container, "Id", "Names", "State", "Status") | {"Labels": labels(container)} | host


def details(container: dict[str, Any]) -> dict[str, Any]:
    """A container, without environment, command and mounts."""
    return only(container, "Id", "Name") | {
        "State": only(container["State"], "Status", "Running", "Restarting", "StartedAt", "Pid"),
        "Config": only(container["Config"], "StopSignal") | {"Labels": labels(container["Config"])},
        "HostConfig": only(container["HostConfig"], "RestartPolicy"),
    }


def labels(labelled: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in labelled["Labels"].items() if name.startswith("com.docker.compose.")}


def only(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: fields[name] for name in names if name in fields}


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


if __name__ == "__main__":
    asyncio.run(main())
