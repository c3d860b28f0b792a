"""Runs a PostgreSQL server in a container, from this machine's files."""

import os
import shutil
import subprocess
from pathlib import Path

from e2e.engine import SHELL
from support.servers.postgres import find_initdb

_IMAGE = "lessee-e2e-servers"
# Does what the entrypoint of PostgreSQL's official image does, which the Compose files name.
_SERVER = """
set -eu
programs=$(echo /usr/lib/postgresql/*/bin)
printf '%s\\n' 'root:x:0:0::/:/bin/sh' 'postgres:x:999:999::/:/bin/sh' > /etc/passwd
install -d -o 999 -g 999 -m 0700 /var/lib/postgresql/data /tmp /run
cat > /as-postgres <<END
#!/bin/sh
exec setpriv --reuid 999 --regid 999 --clear-groups "\\$@"
END
chmod 755 /as-postgres
[ -z "${POSTGRES_PASSWORD_FILE:-}" ] || POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
printf %s "$POSTGRES_PASSWORD" > /password; chmod 644 /password
set -- -D /var/lib/postgresql/data
options='--username=postgres --auth=scram-sha-256 --locale=C --encoding=UTF8'
/as-postgres $programs/initdb "$@" $options --pwfile=/password >/dev/null
rm /password
export PGPASSWORD="$POSTGRES_PASSWORD" PGUSER=postgres PGHOST=/tmp
/as-postgres $programs/pg_ctl "$@" --wait --silent --log=/tmp/log -o "-c listen_addresses='' -k /tmp" start
$programs/psql -q -d postgres -c "CREATE DATABASE $POSTGRES_DB"
$programs/psql -q -d "$POSTGRES_DB" -f /docker-entrypoint-initdb.d/init.sql
/as-postgres $programs/pg_ctl "$@" --wait --silent stop
echo 'host all all all scram-sha-256' >> /var/lib/postgresql/data/pg_hba.conf
exec setpriv --reuid 999 --regid 999 --clear-groups $programs/postgres "$@" -k /tmp -c 'listen_addresses=*'
"""


def make_image(engine):
    """Make an image with PostgreSQL, and with Redis if this machine has it, and return its tag."""
    redis = ("redis-server", "redis-tools") if shutil.which("redis-server") else ()
    packages = ("util-linux", "grep", "postgresql", *_libraries_of(find_initdb()), *redis)
    engine.make_base(_IMAGE, *SHELL, *packages)
    return _IMAGE


def service_override(image):
    """The override of the Compose service that runs PostgreSQL in this image."""
    return {
        "image": image,
        "entrypoint": ["sh", "-c", _SERVER.replace("$", "$$")],
        "healthcheck": {"test": ["CMD-SHELL", "/usr/lib/postgresql/*/bin/pg_isready --host=127.0.0.1"]},
    }


def _libraries_of(initdb):
    """The packages of the libraries that the server links to: a PostgreSQL from elsewhere may not declare them all."""
    programs = (Path(initdb).resolve().with_name(name) for name in ("postgres", "psql", "pg_isready"))
    words = _read("ldd", *programs).split()
    files = {os.path.realpath(word) for word in words if word.startswith("/") and not word.endswith(":")}
    return {line.partition(":")[0] for line in _read("dpkg", "--search", *sorted(files)).splitlines()}


def _read(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
