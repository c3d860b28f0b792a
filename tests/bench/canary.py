"""Looks for secrets' values in all that lessee says while much goes wrong."""

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

from rig import LESSEE, Figure, Program, Rig, environ, rig, tell

from lessee.host.openbao import ROOT_TOKEN
from lessee.status.server import ask

CHANGES = 3
PEER_SECONDS = 8.0
SHORTEST = 8
"""Characters of a line of a canary that is looked for by itself."""

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
    "format-refusal": 'A={{ secret("canary/refused").plain }}\n',
    "denied-path": 'A={{ secret("denied/db").plain }}\n',
    "missing-path": 'A={{ secret("canary/nowhere").plain }}\n',
}
"""Apps that cannot be published, by what is wrong."""
_PEER = {
    "missing-key": '{{ with secret "secret/data/production/canary/db" }}{{ .Data.data.absent }}{{ end }}\n',
    "value-as-number": '{{ with secret "secret/data/production/canary/db" }}'
    "{{ .Data.data.plain | parseInt }}{{ end }}\n",
}
"""What of the same the peer is asked for, each by itself: it stops at the first that fails."""


class Hunt:
    """The values that nobody may see, and what was found of them where."""

    def __init__(self) -> None:
        self._forms: dict[str, frozenset[bytes]] = {}
        self.hits: set[str] = set()
        self.places = self.searched = 0

    def learn(self, name: str, value: str) -> None:
        self._forms[name] = frozenset(_forms(value))

    def search(self, where: str, said: bytes) -> None:
        self.places += 1
        self.searched += len(said)
        for name, forms in self._forms.items():
            if any(form in said for form in forms):
                self.hits.add(f"{name} in {where}")

    def prove(self, value: str, shown: bytes) -> None:
        """A hunt that does not find what it is shown proves nothing. Raises RuntimeError."""
        missed = [form for form in _forms(value) if not any(form in forms for forms in self._forms.values())]
        blind = not any(form in shown for forms in self._forms.values() for form in forms)
        if missed or blind:
            raise RuntimeError("the hunt does not see the canaries that are there")

    def tell(self) -> str:
        for hit in sorted(self.hits):
            tell(f"FOUND {hit}")
        return f"{len(self.hits)} in {self.places} outputs of {self.searched / 1024:.0f} KiB"


def measure() -> Iterator[Figure]:
    hunt, peer_hunt = Hunt(), Hunt()
    with rig() as bench:
        _deny(bench)
        hunt.learn("secret_id", bench.secret_id.read_text())
        # Failing logins lock a role out, so they get one of their own.
        stranger, _ = bench.bao.approle("stranger", 'path "none" { capabilities = ["read"] }')
        for form in ("text", "json"):
            _run_broken(bench, hunt, form)
            _run_bad_login(bench, hunt, form, stranger)
            _run_spent_wrapping(bench, hunt, form)
        _run_peer(bench, peer_hunt)
    name = "canaries found (value, secret_id, token; raw, base64, URL, JSON)"
    yield Figure(name, peer_hunt.tell(), hunt.tell(), "0", not hunt.hits)


def _deny(bench: Rig) -> None:
    policy = bench.bao.ask("GET", "sys/policies/acl/bench")["data"]["policy"]
    for view in ("data", "metadata", "detailed-metadata"):
        policy += f'\npath "secret/{view}/production/denied/*" {{ capabilities = ["deny"] }}'
    bench.bao.ask("PUT", "sys/policies/acl/bench", {"policy": policy})


def _write_canaries(bench: Rig, hunt: Hunt, turn: str) -> str:
    """Write new ones, and have them hunted too; the plain one."""
    plain = secrets.token_hex(12)
    awkward = f"\"{secrets.token_hex(12)}'\nzwölf {secrets.token_hex(12)} \\ $& ü\n"
    refused = f"{secrets.token_hex(12)}\0"
    denied = secrets.token_hex(12)
    bench.bao.put("production/canary/db", plain=plain, awkward=awkward)
    bench.bao.put("production/canary/refused", plain=refused)
    bench.bao.put("production/denied/db", plain=denied)
    for name, value in (("plain", plain), ("awkward", awkward), ("refused", refused), ("denied", denied)):
        hunt.learn(f"{name} {turn}", value)
    return plain


def _run_broken(bench: Rig, hunt: Hunt, form: str) -> None:
    plain = _write_canaries(bench, hunt, f"{form} 0")
    apps = {"files": (_WEB, None), **{name: ({"app.env": text}, None) for name, text in _BROKEN.items()}}
    program = bench.lessee_for(apps, "--log-level", "debug", "--log-format", form)
    with program:
        program.wait_for_files()
        for turn in range(1, CHANGES + 1):
            program.wait_for("app.json", plain)
            hunt.prove(plain, (program.directory / "app.json").read_bytes())
            program.until(lambda: _all_failed(program), f"the failure of {', '.join(_BROKEN)}")
            _ask_everything(program, hunt, form)
            plain = _write_canaries(bench, hunt, f"{form} {turn}")
        program.wait_for("app.json", plain)
        hunt.learn(f"token {form}", _token(program))
        _ask_everything(program, hunt, form)
        _stop(program)
    hunt.search(f"log of run, {form}", program.log.read_bytes())


def _all_failed(program: Program) -> bool:
    apps = program.wait_to_answer()["apps"]
    return all(apps[name]["error"] or any(s["error"] for s in apps[name]["secrets"]) for name in _BROKEN)


def _token(program: Program) -> str:
    (file,) = (program.folder / "state").glob("token-*")
    return str(json.loads(file.read_bytes())["value"])


def _stop(program: Program) -> None:
    program.process.terminate()
    program.process.wait(timeout=20)


def _ask_everything(program: Program, hunt: Hunt, form: str) -> None:
    """Let each command and each page speak, and look at what /proc shows of the agent."""
    for target in ("/status.json", "/metrics", "/readyz?fresh", "/healthz"):
        hunt.search(f"{target}, {form}", _get(program, target))
    ask(program.socket, "POST", "/refresh", ["canary/db"])
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
        hunt.search(f"lessee {' '.join(map(str, command[:2]))} #{number}, {form}", done.stdout + done.stderr)
    _search_process(program, hunt, form)


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


def _search_process(program: Program, hunt: Hunt, form: str) -> None:
    for name in ("cmdline", "environ"):
        try:
            said = Path(f"/proc/{program.process.pid}/{name}").read_bytes()
        except PermissionError:  # what is closed to its own uid is open to root alone
            continue
        hunt.search(f"{name} of {program.folder.name}, {form}", said)


def _run_bad_login(bench: Rig, hunt: Hunt, form: str, role_id: str) -> None:
    role = bench.folder / "stranger_role_id"
    role.write_text(role_id)
    file = bench.folder / "wrong_secret_id"
    file.write_text(secrets.token_hex(12))
    hunt.learn(f"wrong secret_id {form}", file.read_text())
    _run_locked_out(bench, hunt, form, {"role_id_file": str(role), "secret_id_file": str(file)})


def _run_spent_wrapping(bench: Rig, hunt: Hunt, form: str) -> None:
    file = bench.folder / "spent_wrapping_token"
    file.write_text(_wrapped_secret_id(bench))
    hunt.learn(f"wrapping token {form}", file.read_text())
    spent = bench.bao.ask("POST", "sys/wrapping/unwrap", token=file.read_text())
    hunt.learn(f"wrapped secret_id {form}", spent["data"]["secret_id"])
    _run_locked_out(bench, hunt, form, {"secret_id_file": str(file), "wrapped": True})


def _wrapped_secret_id(bench: Rig) -> str:
    request = urllib.request.Request(
        f"{bench.bao.address}/v1/auth/approle/role/bench/secret-id",
        method="POST",
        data=b"{}",
        headers={"X-Vault-Token": ROOT_TOKEN, "X-Vault-Wrap-TTL": "60s"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["wrap_info"]["token"])


def _run_locked_out(bench: Rig, hunt: Hunt, form: str, auth: Mapping[str, object]) -> None:
    apps = {"files": ({"app.env": _WEB["app.env"]}, None)}
    program = bench.lessee_for(apps, "--log-level", "debug", "--log-format", form, auth=auth)
    with program:
        program.until(lambda: "login failed" in str(program.wait_to_answer()["problems"]), "a failed login")
        _ask_everything(program, hunt, form)
        _stop(program)
    hunt.search(f"log of {program.folder.name}, {form}", program.log.read_bytes())


def _run_peer(bench: Rig, hunt: Hunt) -> None:
    """A login, a change, and two of the failures."""
    hunt.learn("secret_id", bench.secret_id.read_text())
    for name, template in _PEER.items():
        _write_canaries(bench, hunt, f"{name} 0")
        program = bench.peer_for({f"{name}.env": template}, "-log-level=debug")
        with program:
            time.sleep(PEER_SECONDS / 2)
            _write_canaries(bench, hunt, f"{name} 1")
            time.sleep(PEER_SECONDS / 2)
            _search_process(program, hunt, name)
        hunt.search(f"its log, {name}", program.log.read_bytes())


def _forms(value: str) -> Iterator[bytes]:
    for text in {value, *(line for line in value.splitlines() if len(line) >= SHORTEST)}:
        raw = text.encode()
        yield raw
        for before in (b"", b"-", b"--"):
            # Inside of something longer, base64 has three forms, of which the ends depend on the neighbours.
            inside = base64.b64encode(before + raw + b"--")[4:-4]
            yield inside
            yield inside.translate(bytes.maketrans(b"+/", b"-_"))
        yield from (form(text).encode() for form in (quote, quote_plus))
        yield quote(text, safe="").encode()
        yield json.dumps(text)[1:-1].encode()
        yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
        yield repr(text)[1:-1].encode()
