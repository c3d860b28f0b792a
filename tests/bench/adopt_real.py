"""Adopts public Compose projects for real: real stores, small real apps that log in to them, and back.

    python tests/bench/adopt_real.py --checkouts DIR [--keep] [NAME …]

DIR is that of adopt_projects.py. Each project of adopt_real.toml is copied, gets passwords of its own, is started on an
Engine of the benchmark's own with images that are made here, and is adopted with `--dev --yes`. Then a secret is
rotated, and the adoption undone. A row says what did not hold; the exit code is 1 if anything did not.
"""

import argparse
import hashlib
import json
import re
import secrets
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

from adopt_projects import PROJECTS, prepare
from adopt_real_images import PORT, RealImages

from e2e.adopt_stacks import Project
from e2e.compose import AGENT, Images, build_wheels
from e2e.engine import Engine, shared_engine

IMAGE = f"{AGENT}-rotate"
"""The agent's image, with the clients of the stores."""
REAL = Path(__file__).with_suffix(".toml")
PATIENCE = 240.0
"""Seconds for a stack to be well."""
MANUAL = 75
STARTS = 3
"""How often the stack may be started before it is well: on a busy machine a store's first start outlasts its checks."""


class NotAsPromisedError(Exception):
    """Something that must hold after an adoption does not."""


def main() -> int:
    """Adopt all projects, or those whose names contain one of NAME."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", type=Path, required=True)
    parser.add_argument("--keep", action="store_true", help="leave the stack of a project that failed, until Enter")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    wanted = [spec for spec in specs() if not options.names or any(part in title(spec) for part in options.names)]
    good = 0
    with tempfile.TemporaryDirectory(prefix="lessee-real-") as name:
        folder = Path(name)
        with shared_engine(folder, own=True) as engine:
            images = Images(engine, folder, build_wheels(folder))
            images.make("rotation", {"rotator": {"image": IMAGE, "build": images.build}})
            real = RealImages(engine, folder / "images")
            for number, spec in enumerate(wanted):
                good += row(spec, engine, real, options, folder / str(number))
    sys.stdout.write(f"{good} of {len(wanted)} adopted, healthy, one secret rotated, undone, byte-equal\n")
    return int(good < len(wanted))


def specs() -> Iterator[dict[str, Any]]:
    """The projects, each with what adopt_projects.toml says of it."""
    known = tomllib.loads(PROJECTS.read_text())["projects"]
    for spec in tomllib.loads(REAL.read_text())["projects"]:
        keys = ("repository", "folder", "files")
        yield next(one for one in known if all(one.get(key) == spec.get(key) for key in keys)) | spec


def title(spec: Mapping[str, Any]) -> str:
    """Its name in the output."""
    return f"{spec['repository']}/{spec.get('folder', '')}".rstrip("/")


def row(spec: dict[str, Any], engine: Engine, images: RealImages, options: argparse.Namespace, scratch: Path) -> bool:
    """Print the row of a project. Returns whether everything held."""
    began = time.monotonic()
    scratch.mkdir()
    real = RealProject(spec, engine, options.checkouts, scratch)
    with real:
        try:
            text, is_good = real.run_through(images), True
        except (NotAsPromisedError, AssertionError) as exc:
            text, is_good = f"FAILED {real.step}: {real.without_secrets(str(exc))[-4000:]}", False
        except Exception:  # noqa: BLE001  # The next project is measured all the same.
            text, is_good = f"FAILED {real.step}: {real.without_secrets(traceback.format_exc())}", False
        sys.stdout.write(f"{title(spec)}: {text} ({time.monotonic() - began:.0f} s)\n")
        sys.stdout.flush()
        if options.keep and not is_good:
            sys.stdout.write(f"{real.folder}, {engine.socket}: Enter to go on\n")
            sys.stdout.flush()
            sys.stdin.readline()
    return is_good


class RealProject(Project):
    """A copy of a public project with passwords of its own, on the Engine."""

    patience = 900

    def __init__(self, spec: dict[str, Any], engine: Engine, checkouts: Path, scratch: Path) -> None:
        self.spec, self.step = spec, "preparation"
        folder = prepare(spec, checkouts, scratch)
        # A clone has its repository's name, and Compose's project has that of its folder.
        self._root = (scratch / "project").rename(scratch / spec["repository"].partition("/")[2].lower())
        folder = self._root / spec.get("folder", ".")
        self.secrets = {name: f"canary-{name}-{secrets.token_hex(8)}" for name in _words(spec)}
        for file, texts in spec["passwords"].items():
            path = folder / file
            path.write_text(_with_passwords(path.read_text() if path.exists() else "", texts, self.secrets))
        super().__init__(engine, "", IMAGE, folder)

    def run_through(self, images: RealImages) -> str:
        """Start it, adopt it, rotate a secret, undo it. Raises NotAsPromisedError. Returns what it has."""
        model = json.loads(self.compose("config", "--format", "json"))
        self.name = model["name"]
        used = {one.get("image") or f"{self.name}-{name}" for name, one in model["services"].items()}
        for reference in sorted(used):
            images.make(reference, self._app_of(reference))
        self.start_server()
        self.step = "start"
        for _ in range(STARTS):  # One that runs already costs nothing.
            self.compose("up", "--detach", "--no-build", "--pull", "never", check=False)
            self.until_well(started_only=True)
        self.until_well()
        files, states, services = self.all_files(), self.logged_in(), sorted(self.services())
        self.step = "adoption"
        self.adopted("--yes")
        self.until_well()
        self.expect_states(states)
        self.step = "search for plaintext"
        self.expect_no_plaintext({*used, IMAGE})
        for value in self.secrets.values():
            self.place_of(value)
        self.step = "rotation"
        changed = self.rotate()
        self.until_well()
        self.expect_states(states, changed)
        self.expect_no_plaintext({*used, IMAGE}, more=list(changed.values()))
        self.step = "a second run"
        found = self.adopted("--yes")
        _expect("nothing to do" in found.stdout, "it is not `nothing to do`")
        self.step = "undo"
        self.adopt("--undo", "--yes")
        self.until_well()
        _expect(self.all_files() == files, f"files differ: {_differing(files, self.all_files())}")
        _expect(sorted(self.services()) == services, "other services run than before")
        self.expect_states(states)
        _expect(not self.secrets_in(self.said), "a secret is in the output")
        return f"{len(services)} services, {len(self.secrets)} secrets, {len(states)} apps logged in"

    def adopted(self, *words: str) -> Any:
        """Run `lessee adopt`; only the manual steps that are known may remain."""
        done = self.adopt(*words, code=None)
        known = self.spec.get("manual_steps", [])
        steps = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("! ")]
        unknown = [step for step in steps if not any(re.search(one, step) for one in known)]
        _expect(done.returncode in {0, MANUAL}, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        _expect(not unknown, "manual steps:\n" + "\n".join(unknown))
        _expect(done.returncode == 0 or steps, "exit code 75 without a step")
        return done

    def rotate(self) -> dict[str, str]:
        """Rotate a secret: its old value, and its new one."""
        rotated = self.spec["rotated"]
        path, field, old = self.place_of(self.secrets[rotated["secret"]])
        if "store" in rotated:
            self.adopted("--yes", "--rotate-only", rotated["store"])
        else:
            environ = {
                "VAULT_ADDR": f"https://127.0.0.1:{self.server.port}",
                "VAULT_TOKEN": self.server.token,
                "VAULT_CACERT": str(self.server.folder / "ca.pem"),
            }
            words = ("set", "--config", "lessee/lessee.yaml", path, field)
            done = self.run(*words, text=f"canary-new-{secrets.token_hex(8)}", **environ)
            _expect(done.returncode == 0, done.stdout + done.stderr)
        new = self.server.get(f"development/{path}")[field]
        _expect(new != old, "Vault has the old value")
        return {old: new}

    def place_of(self, secret: str) -> tuple[str, str, str]:
        """The path and field in Vault of the value that has the secret, and that value."""
        prefix = "secret/metadata/development"
        for found in self.below(prefix):
            path = found.removeprefix(f"{prefix}/")
            if not path.startswith("lessee/"):
                for field, value in self.server.get(f"development/{path}").items():
                    if secret in value:
                        return path, field, value
        raise NotAsPromisedError(f"not in Vault: {self.secrets_in(secret)}")

    def states(self) -> dict[str, Any]:
        """What each app says of its logins and variables, as SHA-256; without those of the container itself."""
        found = {}
        for one in self.containers():
            service = one["Config"]["Labels"]["com.docker.compose.service"]
            if self._app_of(one["Config"]["Image"]) is not None and one["State"]["Running"]:
                answer = self.engine.exec(one["Id"], "curl", "-sS", f"http://127.0.0.1:{PORT}/state", check=False)
                with suppress(ValueError):
                    state = json.loads(answer)
                    for name in ("HOSTNAME", "HOME", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"):
                        state["variables"].pop(name, None)
                    found[service] = state
        return found

    def logged_in(self) -> dict[str, Any]:
        """The states when all apps are logged in. Raises NotAsPromisedError."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.states()
            errors = {service: state["errors"] for service, state in found.items() if not state["ok"]}
            if found and not errors:
                return found
            if time.monotonic() > deadline:
                raise NotAsPromisedError(f"not logged in: {errors}")
            time.sleep(0.5)

    def expect_states(self, before: Mapping[str, Any], changed: Mapping[str, str] | None = None) -> None:
        """Raises NotAsPromisedError unless each app is logged in with the values of before, or the changed ones."""
        digests = {_digest(old): _digest(new) for old, new in (changed or {}).items()}
        expected = json.loads(json.dumps(before))
        urls = set()
        for service, state in expected.items():
            for kind in ("passwords", "variables"):
                state[kind] = {name: digests.get(value, value) for name, value in state[kind].items()}
            for login in state["passwords"] if changed else ():
                if login.startswith("{"):
                    urls.add((service, login.strip("{}")))
        deadline = time.monotonic() + PATIENCE
        while True:
            now = self.states()
            for service, name in urls:  # The hash of a whole URL is not known.
                for one in (now, expected):
                    one.get(service, {}).get("variables", {}).pop(name, None)
            differing = sorted(service for service in expected if now.get(service) != expected[service])
            if not differing:
                return
            if time.monotonic() > deadline:
                service = differing[0]
                detail = _differences(expected[service], now.get(service))
                raise NotAsPromisedError(f"{', '.join(differing)} not as before: {detail}")
            time.sleep(0.5)

    def expect_no_plaintext(self, images: set[str], more: list[str] | None = None) -> None:
        """Raises NotAsPromisedError where a secret is in a file, in what the Engine shows, or in an argument."""
        found = []
        for name, content in self.all_files().items():
            if isinstance(content, tuple):
                found += [f"{value} in {name}" for value in self.secrets_in(content[0].decode(errors="replace"), more)]
        for one in self.containers():
            found += [f"{value} in docker inspect {one['Name']}" for value in self.secrets_in(json.dumps(one), more)]
        for image in sorted(images):
            text = self.engine.docker("history", "--no-trunc", image)
            found += [f"{value} in docker history {image}" for value in self.secrets_in(text, more)]
        for service, words in self.arguments():
            found += [f"{value} in an argument of {service}" for value in self.secrets_in(words, more)]
        _expect(not found, "; ".join(sorted(set(found))))

    def arguments(self) -> Iterator[tuple[str, str]]:
        """The words of each process that a container's program has started; health checks are the project's own."""
        for container in self.containers():
            service = container["Config"]["Labels"]["com.docker.compose.service"]
            if not container["State"]["Running"]:
                continue
            lines = self.engine.docker("top", container["Id"], "-o", "pid,ppid", check=False).splitlines()[1:]
            parents = dict(line.split() for line in lines)
            own = {str(container["State"]["Pid"])}
            while more := {pid for pid, parent in parents.items() if parent in own} - own:
                own |= more
            for pid in own:
                with suppress(OSError):
                    yield service, (Path("/proc") / pid / "cmdline").read_bytes().replace(b"\0", b" ").decode()

    def until_well(self, *, started_only: bool = False) -> None:
        """Raises NotAsPromisedError unless all containers are healthy in time; without a check, running or done."""
        deadline = time.monotonic() + PATIENCE
        while ill := {
            name: state
            for name, state in self._conditions().items()
            if state and not (started_only and state.startswith("created"))
        }:
            if time.monotonic() > deadline:
                logs = "\n".join(map(self.last_lines, ill))
                raise NotAsPromisedError(f"not well: {ill}\n{logs}")
            time.sleep(0.5)

    def last_lines(self, service: str) -> str:
        """The end of the log of a service."""
        names = [
            one["Name"] for one in self.containers() if one["Config"]["Labels"]["com.docker.compose.service"] == service
        ]
        return "".join(self.engine.docker("logs", "--tail", "8", name, check=False) for name in names)

    def _conditions(self) -> dict[str, str]:
        """What is wrong with each service; empty: nothing."""
        found = {}
        for one in self.containers():
            state, name = one["State"], one["Config"]["Labels"]["com.docker.compose.service"]
            health = (state.get("Health") or {}).get("Status", "healthy")
            is_done = state["Status"] == "exited" and state["ExitCode"] == 0
            is_well = is_done or (state["Status"] == "running" and health == "healthy")
            found[name] = "" if is_well else f"{state['Status']} {health} {state['ExitCode']}"
        return found

    def all_files(self) -> dict[str, Any]:
        """All files of the checkout, also those outside of the project's folder."""
        own, self.folder = self.folder, self._root
        try:
            return self.files()
        finally:
            self.folder = own

    def secrets_in(self, text: str, more: list[str] | None = None) -> list[str]:
        """The names of the secrets in a text; of other values, `new`."""
        return [name for name, value in self.secrets.items() if value in text] + [
            "new" for value in more or () if value in text
        ]

    def without_secrets(self, text: str) -> str:
        """The text without the values, which are random but look like passwords."""
        for name, value in self.secrets.items():
            text = text.replace(value, f"<{name}>")
        return text

    def _app_of(self, reference: str) -> dict[str, Any] | None:
        return self.spec.get("apps", {}).get(reference)


def _words(spec: Mapping[str, Any]) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", json.dumps(spec["passwords"])))


def _with_passwords(content: str, texts: str | Mapping[str, str], values: Mapping[str, str]) -> str:
    """The file with the values of these variables, where it sets them; others are added at its end."""
    if isinstance(texts, str):
        return texts.format(**values)
    for name, text in texts.items():
        new = text.format(**values)
        pattern = rf"(?m)^([\s-]*[\"']?{name}[\"']?\s*[=:][ \t]*[\"']?)[^\s\"']*"
        content, count = re.subn(pattern, lambda found, new=new: found[1] + new, content)
        content += "" if count else f"{name}={new}\n"
    return content


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise NotAsPromisedError(otherwise)


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _differences(expected: Mapping[str, Any], now: Mapping[str, Any] | None) -> str:
    if now is None:
        return "it does not answer"
    parts = [f"errors {now['errors']}"] if now["errors"] else []
    for kind in ("passwords", "variables"):
        parts += [f"{kind} {name}" for name in _differing(expected[kind], now[kind])]
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
