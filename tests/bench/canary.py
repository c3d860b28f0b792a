"""Searches all output of lessee for values of secrets, while many things fail."""

import base64
import json
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, quote_plus

from figures import Figure
from rig import LESSEE, Program, Rig, environ, report, rig

from lessee.host.openbao import ROOT_TOKEN
from lessee.status.client import request_status

CHANGES = 3
PEER_SECONDS = 8.0
SHORTEST = 8
"""Characters of the shortest line of a canary that is searched for on its own."""

_WEB = {
    "app.json": '{"plain": {{ secret("canary/db").plain }}, "awkward": {{ secret("canary/db").awkward }}}\n',
    "app.env": 'PLAIN={{ secret("canary/db").plain }}\nAWKWARD={{ secret("canary/db").awkward }}\n',
}
_BROKEN = {
    "missing-key": 'A={{ secret("canary/db").absent }}\n',
    "value-as-key": 'A={{ secret("canary/db")[secret("canary/db").plain] }}\n',
    "value-as-object": 'A={{ secret("canary/db").plain.absent }}\n',
    "value-as-number": 'A={{ 1 + secret("canary/db").plain }}\n',
    "value-decoded": 'A={{ secret("canary/db").awkward | b64decode }}\n',
    "format-error": 'A={{ secret("canary/rejected").plain }}\n',
    "denied-path": 'A={{ secret("denied/db").plain }}\n',
    "missing-path": 'A={{ secret("canary/nowhere").plain }}\n',
}
"""Apps that cannot be published, by the reason."""
_PEER = {
    "missing-key": '{{ with secret "secret/data/production/canary/db" }}{{ .Data.data.absent }}{{ end }}\n',
    "value-as-number": '{{ with secret "secret/data/production/canary/db" }}'
    "{{ .Data.data.plain | parseInt }}{{ end }}\n",
}
"""The same failures for the peer, each in its own run, because it stops at the first one."""


class Search:
    """The values that no output may contain, and the places where they were found."""

    def __init__(self) -> None:
        self._forms: dict[str, frozenset[bytes]] = {}
        self.hits: set[str] = set()
        self.places = self.searched = 0

    def learn(self, name: str, value: str) -> None:
        self._forms[name] = frozenset(_forms(value))

    def search(self, where: str, content: bytes) -> None:
        self.places += 1
        self.searched += len(content)
        for name, forms in self._forms.items():
            if any(form in content for form in forms):
                self.hits.add(f"{name} in {where}")

    def verify(self, value: str, sample: bytes) -> None:
        """Raise RuntimeError if the search does not find this value in a sample that contains it."""
        missed = [form for form in _forms(value) if not any(form in forms for forms in self._forms.values())]
        blind = not any(form in sample for forms in self._forms.values() for form in forms)
        if missed or blind:
            raise RuntimeError("the search does not find a canary in a text that contains it")

    def summary(self) -> str:
        for hit in sorted(self.hits):
            report(f"FOUND {hit}")
        return f"{len(self.hits)} in {self.places} outputs of {self.searched / 1024:.0f} KiB"


def measure() -> Iterator[Figure]:
    search, peer_search = Search(), Search()
    with rig() as bench:
        _deny(bench)
        search.learn("secret_id", bench.secret_id.read_text())
        # Failing logins lock a role out, so they use another role.
        failing, _ = bench.bao.approle("failing", 'path "none" { capabilities = ["read"] }')
        for form in ("text", "json"):
            _run_broken(bench, search, form)
            _run_failing_login(bench, search, form, failing)
            _run_used_wrapping_token(bench, search, form)
        _run_peer(bench, peer_search)
    name = "canaries found (value, secret_id, token; raw, base64, URL, JSON)"
    yield Figure(name, peer_search.summary(), search.summary(), "0", not search.hits)


def _deny(bench: Rig) -> None:
    policy = bench.bao.ask("GET", "sys/policies/acl/bench")["data"]["policy"]
    for view in ("data", "metadata", "detailed-metadata"):
        policy += f'\npath "secret/{view}/production/denied/*" {{ capabilities = ["deny"] }}'
    bench.bao.ask("PUT", "sys/policies/acl/bench", {"policy": policy})


def _write_canaries(bench: Rig, search: Search, label: str) -> str:
    """Write new canaries and search for them too. Returns the plain one."""
    plain = secrets.token_hex(12)
    awkward = f"\"{secrets.token_hex(12)}'\nzwölf {secrets.token_hex(12)} \\ $& ü\n"
    rejected = f"{secrets.token_hex(12)}\0"
    denied = secrets.token_hex(12)
    bench.bao.put("production/canary/db", plain=plain, awkward=awkward)
    bench.bao.put("production/canary/rejected", plain=rejected)
    bench.bao.put("production/denied/db", plain=denied)
    for name, value in (("plain", plain), ("awkward", awkward), ("rejected", rejected), ("denied", denied)):
        search.learn(f"{name} {label}", value)
    return plain


def _run_broken(bench: Rig, search: Search, form: str) -> None:
    plain = _write_canaries(bench, search, f"{form} 0")
    apps = {"files": (_WEB, None), **{name: ({"app.env": text}, None) for name, text in _BROKEN.items()}}
    program = bench.lessee_for(apps, "--log-level", "debug", "--log-format", form)
    with program:
        program.wait_for_files()
        for turn in range(1, CHANGES + 1):
            program.wait_for("app.json", plain)
            search.verify(plain, (program.directory / "app.json").read_bytes())
            program.until(lambda: _all_failed(program), f"the failure of {', '.join(_BROKEN)}")
            _search_everything(program, search, form)
            plain = _write_canaries(bench, search, f"{form} {turn}")
        program.wait_for("app.json", plain)
        search.learn(f"token {form}", _token(program))
        _search_everything(program, search, form)
        _stop(program)
    search.search(f"log of run, {form}", program.log.read_bytes())


def _all_failed(program: Program) -> bool:
    apps = program.wait_for_status()["apps"]
    return all(apps[name]["error"] or any(s["error"] for s in apps[name]["secrets"]) for name in _BROKEN)


def _token(program: Program) -> str:
    (file,) = (program.folder / "state").glob("token-*")
    return str(json.loads(file.read_bytes())["value"])


def _stop(program: Program) -> None:
    program.process.terminate()
    program.process.wait(timeout=20)


def _search_everything(program: Program, search: Search, form: str) -> None:
    """Search the output of each command and each page, and what /proc contains of the agent."""
    for target in ("/status.json", "/metrics", "/readyz?fresh", "/healthz"):
        search.search(f"{target}, {form}", _get(program, target))
    request_status(program.socket, "POST", "/refresh", ["canary/db"])
    log = ("--log-level", "debug", "--log-format", form)
    for number, command in enumerate(
        (
            ("status",),
            ("status", "--json"),
            ("check",),
            ("refresh",),
            ("render", "--output", program.folder / "out", *log),
            ("render", "--diff", *log),
        )
    ):
        done = subprocess.run(
            [*LESSEE, *command, "--config", program.config],
            check=False,
            capture_output=True,
            env=environ(program.folder),
            timeout=60,
        )
        search.search(f"lessee {' '.join(map(str, command[:2]))} #{number}, {form}", done.stdout + done.stderr)
    _search_process(program, search, form)


def _get(program: Program, target: str) -> bytes:
    connection = HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(str(program.socket))
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return str(answer.headers).encode() + answer.read()
    finally:
        connection.close()


def _search_process(program: Program, search: Search, form: str) -> None:
    for name in ("cmdline", "environ"):
        try:
            content = Path(f"/proc/{program.pid}/{name}").read_bytes()
        except PermissionError:  # only root may read files that are closed to the agent's own uid
            continue
        search.search(f"{name} of {program.folder.name}, {form}", content)


def _run_failing_login(bench: Rig, search: Search, form: str, role_id: str) -> None:
    role = bench.folder / "failing_role_id"
    role.write_text(role_id)
    file = bench.folder / "wrong_secret_id"
    file.write_text(secrets.token_hex(12))
    search.learn(f"wrong secret_id {form}", file.read_text())
    _run_without_login(bench, search, form, {"role_id_file": str(role), "secret_id_file": str(file)})


def _run_used_wrapping_token(bench: Rig, search: Search, form: str) -> None:
    file = bench.folder / "used_wrapping_token"
    file.write_text(_wrapped_secret_id(bench))
    search.learn(f"wrapping token {form}", file.read_text())
    used = bench.bao.ask("POST", "sys/wrapping/unwrap", token=file.read_text())
    search.learn(f"wrapped secret_id {form}", used["data"]["secret_id"])
    _run_without_login(bench, search, form, {"secret_id_file": str(file), "wrapped": True})


def _wrapped_secret_id(bench: Rig) -> str:
    request = urllib.request.Request(
        f"{bench.bao.address}/v1/auth/approle/role/bench/secret-id",
        method="POST",
        data=b"{}",
        headers={"X-Vault-Token": ROOT_TOKEN, "X-Vault-Wrap-TTL": "60s"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["wrap_info"]["token"])


def _run_without_login(bench: Rig, search: Search, form: str, auth: Mapping[str, object]) -> None:
    apps = {"files": ({"app.env": _WEB["app.env"]}, None)}
    program = bench.lessee_for(apps, "--log-level", "debug", "--log-format", form, auth=auth)
    with program:
        program.until(lambda: "login failed" in str(program.wait_for_status()["problems"]), "a failed login")
        _search_everything(program, search, form)
        _stop(program)
    search.search(f"log of {program.folder.name}, {form}", program.log.read_bytes())


def _run_peer(bench: Rig, search: Search) -> None:
    """A login, a change, and two of the failures, with the peer."""
    search.learn("secret_id", bench.secret_id.read_text())
    for name, template in _PEER.items():
        _write_canaries(bench, search, f"{name} 0")
        program = bench.peer_for({f"{name}.env": template}, "-log-level=debug")
        with program:
            time.sleep(PEER_SECONDS / 2)
            _write_canaries(bench, search, f"{name} 1")
            time.sleep(PEER_SECONDS / 2)
            _search_process(program, search, name)
        search.search(f"log of the peer, {name}", program.log.read_bytes())


def _forms(value: str) -> Iterator[bytes]:
    for text in {value, *(line for line in value.splitlines() if len(line) >= SHORTEST)}:
        raw = text.encode()
        yield raw
        for before in (b"", b"-", b"--"):
            # Inside a longer text base64 has three forms, and the neighbors determine their ends.
            inside = base64.b64encode(before + raw + b"--")[4:-4]
            yield inside
            yield inside.translate(bytes.maketrans(b"+/", b"-_"))
        yield from (form(text).encode() for form in (quote, quote_plus))
        yield quote(text, safe="").encode()
        yield json.dumps(text)[1:-1].encode()
        yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
        yield repr(text)[1:-1].encode()
