"""Compose projects with plaintext secrets on a real Engine, for `lessee adopt`: made, adopted, searched and undone."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from e2e.engine import WITH_PYTHON
from e2e.postgres import _libraries_of
from support.programs.forks import run_lessee
from support.servers.dev_server import Dev
from support.servers.postgres import find_initdb

APP = "lessee-adopt-app"
POSTGRES = "lessee-adopt.local/postgres:17"
CANARIES = {
    "database": "canary-db-7Kq2vX9mLp4RtZ",
    "api": "sk_live_canaryKj8Hs7Gd6Fa5Qw4Er3",
    "session": "canary-session-Nn7Bb6Vv5Cc4Xx3",
    "url": "canary-cache-Pp9Oo8Ii7Uu6Yy5",
}

# What the entrypoint of PostgreSQL's official image does with its variables, and the app; both run in one image.
_ENTRYPOINT = r"""#!/bin/sh
set -eu
file_env() {
    eval "value=\${$1:-} file=\${$1_FILE:-}"
    if [ -n "$value" ] && [ -n "$file" ]; then echo "error: both $1 and $1_FILE are set" >&2; exit 1; fi
    [ -z "$file" ] || value=$(cat "$file")
    export "$1=$value"; unset "$1_FILE"
}
if [ "$(id -u)" = 0 ]; then
    install -d -o 999 -g 999 -m 0700 "$PGDATA"
    install -d -o 999 -g 999 -m 3777 /var/run/postgresql
    exec setpriv --reuid 999 --regid 999 --init-groups "$0" "$@"
fi
file_env POSTGRES_PASSWORD; file_env POSTGRES_USER; file_env POSTGRES_DB
: "${POSTGRES_USER:=postgres}" "${POSTGRES_DB:=$POSTGRES_USER}"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "$POSTGRES_PASSWORD" ]; then echo "Error: superuser password is not specified." >&2; exit 1; fi
    printf %s "$POSTGRES_PASSWORD" > /tmp/pw
    initdb -D "$PGDATA" --no-sync --username="$POSTGRES_USER" --pwfile=/tmp/pw --auth-host=scram-sha-256 \
        --auth-local=trust --locale=C --encoding=UTF8 >/dev/null
    rm /tmp/pw
    pg_ctl -D "$PGDATA" -w -s -o "-c listen_addresses='' -k /var/run/postgresql" -l /tmp/log start
    [ "$POSTGRES_DB" = postgres ] ||
        psql -q -h /var/run/postgresql -U "$POSTGRES_USER" -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
    pg_ctl -D "$PGDATA" -w -s stop
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
if [ "${1:-}" = postgres ]; then set -- "$@" -c fsync=off -k /var/run/postgresql -c 'listen_addresses=*'; fi
exec "$@"
"""
_POSTGRES = r"""
FROM {base}
COPY --chmod=755 docker-entrypoint.sh /usr/local/bin/
RUN printf '%s\n' root:x:0:0::/:/bin/sh postgres:x:999:999::/:/bin/sh > /etc/passwd; \
    printf '%s\n' root:x:0: postgres:x:999: > /etc/group; install -d -m 1777 /tmp; \
    ln -sf /usr/lib/postgresql/*/bin/* /usr/local/bin/
ENV PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
"""
_APP = r"""
FROM {base}
RUN install -d /usr/local/bin /app; install -d -m 1777 /tmp; ln -sf /usr/lib/postgresql/*/bin/psql /usr/local/bin/; \
    printf '%s\n' root:x:0:0::/:/bin/sh app:x:1000:1000::/app:/bin/sh > /etc/passwd; \
    printf '%s\n' root:x:0: app:x:1000: > /etc/group
COPY app.py /app/app.py
WORKDIR /app
USER app
CMD ["python3", "/app/app.py"]
"""
# Connects to its database, if it has one, and says which values it has: never them, but their SHA-256.
_APP_SOURCE = r"""
import hashlib, json, os, signal, subprocess, sys, time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
names = ["DATABASE_URL", "PAYMENT_API_KEY", "SESSION_SECRET", "CACHE_URL", "LOG_LEVEL", "NEW_API_KEY"]
values = {name: os.environ[name] for name in names if os.environ.get(name)}
print("has", json.dumps({name: hashlib.sha256(text.encode()).hexdigest() for name, text in values.items()}), flush=True)
if values.get("PAYMENT_API_KEY", "").startswith("x"):
    sys.exit("this is not a key")
url = values.get("DATABASE_URL")
while True:
    if not url or subprocess.run(["psql", url, "-Atc", "select 1"], capture_output=True).returncode == 0:
        open("/tmp/ok", "w").close()
    time.sleep(0.2)
"""
_COMPOSE = """\
# Simba's shop, as it was written on a Friday.
name: {name}

x-app: &app
  image: {app}
  env_file: [app.env]          # the keys of the payment provider
  depends_on:
    db: {{condition: service_healthy}}

services:
  db:
    image: {postgres}
    environment:
      POSTGRES_PASSWORD: ${{DB_PASSWORD:?}}
      POSTGRES_DB: shop        # not a secret
    healthcheck: {{test: [CMD-SHELL, "pg_isready -h 127.0.0.1"], interval: 500ms, retries: 60}}

  web:
    <<: *app
    environment:
      DATABASE_URL: postgresql://postgres:${{DB_PASSWORD}}@db:5432/shop
      SESSION_SECRET: "{session}"
      LOG_LEVEL: debug
    healthcheck: {{test: [CMD-SHELL, "test -e /tmp/ok"], interval: 500ms, retries: 60}}

  worker:
    <<: *app
    environment:
    - DATABASE_URL=postgresql://postgres:${{DB_PASSWORD}}@db:5432/shop
    - CACHE_URL=redis://:{url}@cache:6379/0
"""
_ENV = """\
# of the whole shop
DB_PASSWORD={database}
TAG=latest
"""
_APP_ENV = """\
PAYMENT_API_KEY={api}
PAYMENT_REGION=eu
"""


_SMALL = """\
name: {name}
services:
  app:
    image: {app}
    env_file: app.env
    environment:
      SESSION_SECRET: ${{SECRET}}
      LOG_LEVEL: info
    healthcheck: {{test: [CMD-SHELL, "test -e /tmp/ok"], interval: 500ms, retries: 60}}
"""
_SMALL_ENV = "SECRET={session}\n"


def make_images(engine, folder):
    """The images of the app and of PostgreSQL, each once for all workers."""
    base = "lessee-adopt-base"
    engine.make_base(base, *WITH_PYTHON, "util-linux", "grep", "postgresql", *_libraries_of(find_initdb()))

    def build():
        folder.mkdir(exist_ok=True)
        (folder / "docker-entrypoint.sh").write_text(_ENTRYPOINT)
        (folder / "app.py").write_text(_APP_SOURCE)
        for tag, text in ((POSTGRES, _POSTGRES), (APP, _APP)):
            (folder / "Dockerfile").write_text(text.format(base=base))
            engine.docker("build", "--network", "none", "--tag", tag, str(folder))

    engine.make([APP, POSTGRES], build)


class Project:
    """A Compose project in `folder`, which a test adopts with a server for development of its own."""

    patience = 300
    """Seconds that a command may take."""

    def __init__(self, engine, name, image, folder):
        """`name` is Compose's of the project, and `image` the agent's."""
        self.engine, self.name, self.image, self.folder = engine, name, image, folder
        self.server = Dev(self.folder, under=engine.network, by_socket=True, is_lasting=True)
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(self.server.home)}
        if "DOCKER_HOST" in engine.environ:
            self.environ["DOCKER_HOST"] = engine.environ["DOCKER_HOST"]
        self.said = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end_stack()
        self.server.__exit__()
        shutil.rmtree(self.folder)

    def _end_stack(self):
        label = f"label=com.docker.compose.project={self.name}"
        for _ in range(2):  # A killed `docker compose up` may still create one.
            if containers := self.engine.docker("ps", "--all", "--quiet", "--filter", label).split():
                self.engine.remove(*containers)
        for kind in ("volume", "network"):
            if found := self.engine.docker(kind, "ls", "--quiet", "--filter", label).split():
                self.engine.docker(kind, "rm", *found, check=False)

    def files(self):
        """Content and mode of each file below the project, and where each link leads."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if path.is_symlink():
                found[name] = str(path.readlink())
            elif path.is_file():
                found[name] = (path.read_bytes(), path.stat().st_mode & 0o7777, path.stat().st_uid)
        return found

    def compose(self, *words, check=True):
        """`docker compose` as the user types it in the project's folder."""
        done = subprocess.run(
            ["docker", "compose", *words],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def words(self, *options):
        more = [] if "--undo" in options else ["--dev", "--image", self.image]
        return ["adopt", *more, *options]

    def command(self, *options):
        return [*self.engine.network, sys.executable, "-m", "lessee", *self.words(*options)]

    def start_server(self):
        """The server for development of this project's user, at its usual place."""
        self.server.folder = self.server.home / ".local/state/lessee/dev"
        self.server.environ |= self.environ
        self.server.detach("--listen", "docker")

    def adopt(self, *options, code=0, program="", **environ):
        """Run `lessee adopt` to its end; or this program, with its first words in a tuple."""
        program, *first = (program,) if isinstance(program, str) else program
        done = self.run(*first, *self.words(*options), program=program, **environ)
        self.said += done.stdout + done.stderr
        assert code is None or done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def run(self, *words, program="", text="", **environ):
        """Run any command of lessee to its end, where the Engine's host is."""
        where = {"cwd": self.folder, "env": self.environ | environ, "under": self.engine.network}
        return run_lessee(*words, program=program, text=text, timeout=self.patience, **where)

    def start(self, *options):
        """`lessee adopt` as a process of the test's."""
        # A test in the background ignores SIGINT, and its programs would too.
        return subprocess.Popen(
            ["env", "--default-signal=INT", *self.command(*options)],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def below(self, folder):
        """All paths of Vault below one."""
        for name in self._names(folder):
            path = f"{folder}/{name.rstrip('/')}"
            yield from self.below(path) if name.endswith("/") else (path,)

    def _names(self, path):
        try:
            return self.server.ask("GET", f"{path}?list=true")["data"]["keys"]
        except RuntimeError:  # It does not exist.
            return []

    def containers(self):
        label = f"label=com.docker.compose.project={self.name}"
        ids = self.engine.docker("ps", "--all", "--quiet", "--filter", label).split()
        return [self.engine.inspect(one) for one in ids]

    def services(self):
        """The state of each service's container: `running healthy`, or `exited`."""
        found = {}
        for one in self.containers():
            state = one["State"]
            name = one["Config"]["Labels"]["com.docker.compose.service"]
            found[name] = f"{state['Status']} {(state.get('Health') or {}).get('Status', '')}".strip()
        return found

    def processes(self):
        """The environment of each process in the containers, by service and program, as root of the host reads it."""
        for container in self.containers():
            service = container["Config"]["Labels"]["com.docker.compose.service"]
            pids = self.engine.docker("top", container["Id"], "-o", "pid").split()[1:]
            for pid in pids:
                folder = Path("/proc") / pid
                with suppress(OSError):  # A health check has ended.
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    yield service, words[0].decode(), (folder / "environ").read_bytes()


class Shop(Project):
    """A project with plaintext in a Compose file, `.env` and an env file; `is_small`: with one service."""

    def __init__(self, engine, name, image, *, is_small=False):
        super().__init__(engine, name, image, Path(tempfile.mkdtemp(prefix=f"{name}-")))
        words = {"name": name, "app": APP, "postgres": POSTGRES, **CANARIES}
        texts = {
            "compose.yaml": _SMALL if is_small else _COMPOSE,
            ".env": _SMALL_ENV if is_small else _ENV,
            "app.env": _APP_ENV,
        }
        self._files = {file: text.format(**words) for file, text in texts.items()}
        for file, text in self._files.items():
            self.write(file, text)

    def begin_again(self):
        """No container, the files of the beginning, and nothing in Vault; its server still runs."""
        self._end_stack()
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for file, text in self._files.items():
            self.write(file, text)
        for path in self.below("secret/metadata"):
            self.server.ask("DELETE", path)
        for path in ("auth/approle/role", "sys/policies/acl"):
            for name in self._names(path):
                if name.startswith("development-"):
                    self.server.ask("DELETE", f"{path}/{name}")
        self.said = ""

    def write(self, name, text):
        (self.folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    def has(self, service):
        """The SHA-256 of each value that the app has now."""
        lines = [line for line in self.engine.logs(f"{self.name}-{service}-1").splitlines() if line.startswith("has ")]
        return json.loads(lines[-1].removeprefix("has "))

    def plaintext(self):
        """The files below the project that have a canary."""
        return sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and any(value.encode() in path.read_bytes() for value in CANARIES.values())
        )
