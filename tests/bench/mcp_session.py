"""Counts failed calls of an MCP session across server restarts, and measures what `lessee exec` adds to calls."""

import functools
import json
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Self

import anyio
from figures import Figure
from mcp.client.stdio import stdio_client
from rig import LESSEE, Rig, alternate, environ, report, rig

from mcp import Client, StdioServerParameters
from support import npm

ROTATIONS = 50
PACE = 0.05
"""Seconds from one call to the next."""
CALLS = 2000
STARTS = 15
_PATIENCE = 60.0
_HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
_RESPAWN = ("--respawn", "mcp-stdio")
_NOTE = "If any other agent restarts the server, the client sees the end of its pipe."


def measure(rotations: int = ROTATIONS, calls: int = CALLS, starts: int = STARTS) -> Iterator[Figure]:
    """Compare with a server without lessee, in turn."""
    packages = npm.packages()
    folder = packages / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    server = (str(npm.program(packages, "node")), str(folder))
    with rig() as bench:
        yield from _sessions(bench, server, rotations)
        yield from _calls(bench, server, calls)
        yield from _starts(bench, server, starts)


def _sessions(bench: Rig, server: Sequence[str], rotations: int) -> Iterator[Figure]:
    seen = anyio.run(functools.partial(_session, bench, server, rotations))
    name = f"an MCP session over {rotations} rotations, a call every {PACE * 1000:.0f} ms"
    failed, calls, longest = seen
    yield Figure(f"{name}: failed calls, of one session", "", f"{failed:,} of {calls:,}", "0", not failed, _NOTE)
    yield Figure(f"{name}: the longest a call has taken", "", f"{longest:.2f} s")


async def _session(bench: Rig, server: Sequence[str], rotations: int) -> tuple[int, int, float]:
    """Failed calls, all calls, and the longest time."""
    words, log = _exec(bench, "session", server, *_RESPAWN)
    parameters = StdioServerParameters(command=words[0], args=words[1:], cwd=str(bench.folder))
    failed, took, value = 0, [], "0"

    async def call(client: Client) -> None:
        nonlocal failed, value
        since = time.monotonic()
        try:
            answer = await client.call_tool("get-env")
            value = json.loads(answer.content[0].text)["VALUE"]  # type: ignore[union-attr]
        except Exception as exc:  # noqa: BLE001  # Every exception is a failed call.
            failed += 1
            report(f"a call failed: {exc}")
        took.append(time.monotonic() - since)

    with log.open("a") as stderr:
        client = Client(stdio_client(parameters, errlog=stderr), mode="legacy")
        async with client, anyio.create_task_group() as tasks:
            for number in range(1, rotations + 1):
                bench.write("session", str(number))
                deadline = time.monotonic() + _PATIENCE
                while value != str(number):
                    if time.monotonic() > deadline:
                        raise RuntimeError(
                            f"the server does not get the value of rotation {number}\n{log.read_text()[-2000:]}"
                        )
                    tasks.start_soon(call, client)
                    await anyio.sleep(PACE)
                if number % 10 == 0:
                    report(f"{number} rotations, {len(took)} calls, {failed} failed")
    return failed, len(took), max(took)


def _calls(bench: Rig, server: Sequence[str], calls: int) -> Iterator[Figure]:
    """Take turns of ten calls, so that other load on the machine affects both."""
    took: dict[str, list[float]] = {"bare": [], "respawn": []}
    respawn, log = _exec(bench, "calls", server, *_RESPAWN)
    with _Raw(server, log, bench.folder) as bare, _Raw(respawn, log, bench.folder) as behind:
        for _ in range(calls // 10):
            for name, client in (("bare", bare), ("respawn", behind)):
                took[name] += [client.ping() for _ in range(10)]
    alone, more = (median(times) * 1000 for times in took.values())
    tail = [quantiles(times, n=100)[98] * 1000 for times in took.values()]
    name = f"an MCP call, {calls:,} pings"
    reach = "≤ 0.2 ms more"
    yield Figure(f"{name}: median, `exec --respawn mcp-stdio`", f"bare: {alone:.3f} ms", f"{more:.3f} ms", reach,
                 more - alone <= 0.2)  # fmt: skip
    yield Figure(f"{name}: p99", f"bare: {tail[0]:.3f} ms", f"{tail[1]:.3f} ms")


def _starts(bench: Rig, server: Sequence[str], starts: int) -> Iterator[Figure]:
    commands = {name: _exec(bench, name, server, *options) for name, options in (("plain", ()), ("respawn", _RESPAWN))}
    log = commands["plain"][1]

    def start(command: Sequence[str]) -> float:
        since = time.monotonic()
        with _Raw(command, log, bench.folder):
            return time.monotonic() - since

    took = alternate(
        starts,
        bare=lambda: start(server),
        plain=lambda: start(commands["plain"][0]),
        respawn=lambda: start(commands["respawn"][0]),
    )
    bare = median(took["bare"])
    for name, text in (("plain", "`exec`"), ("respawn", "`exec --respawn mcp-stdio`")):
        more = median(took[name]) - bare
        figure = f"start of an MCP server until it is initialized, by {text}"
        yield Figure(figure, f"bare: {bare:.2f} s", f"+ {more * 1000:.0f} ms", "≤ + 200 ms", more <= 0.2)


def _exec(bench: Rig, name: str, server: Sequence[str], *options: str) -> tuple[list[str], Path]:
    """The command with its own secret and configuration, and its log."""
    bench.write(name, "0")
    config = bench.lessee_for({"files": ({}, None)}).config
    settings = json.loads(config.read_text())
    app = settings["apps"]["files"]
    del app["files"]
    app["env_template"] = "app.env.j2"
    (config.parent / "templates" / "app.env.j2").write_text(f'VALUE={{{{ secret("{name}").value }}}}\n')
    config.write_text(json.dumps(settings))
    words = [*LESSEE, "exec", "--config", str(config), "--app", "files", *options, "--", *server]
    return words, config.parent / "log"


class _Raw:
    """A minimal client."""

    def __init__(self, command: Sequence[str], log: Path, folder: Path) -> None:
        self._command, self._log, self._folder = command, log, folder
        self._count = 0

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environ(self._folder),
                cwd=self._folder,
            )
        self._ask("initialize", _HELLO)
        self._say({"method": "notifications/initialized"})
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=_PATIENCE)

    def ping(self) -> float:
        """Seconds of one ping."""
        since = time.perf_counter()
        self._ask("ping", {})
        return time.perf_counter() - since

    def _ask(self, method: str, params: dict[str, Any]) -> None:
        self._count += 1
        self._say({"id": self._count, "method": method, "params": params})
        assert self._process.stdout is not None
        while json.loads(self._process.stdout.readline()).get("id") != self._count:
            pass

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=ROTATIONS)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--starts", type=int, default=STARTS)
    for figure in measure(**vars(parser.parse_args())):
        sys.stdout.write(f"{figure}\n")
