"""A database's password, rotated on a real Engine while an app logs in to it all the time."""

import ast
import json
import os
import subprocess
from pathlib import Path

import pytest

from e2e.compose import LESSEE, images, up
from e2e.engine import SHELL
from postgres import find_initdb
from sidecar import eventually

pytestmark = pytest.mark.docker

POSTGRES = "lessee-e2e-postgres"
TURNS = 6
# As the entrypoint of the image that compose.yaml names does.
SERVER = """
set -eu
programs=$(echo /usr/lib/postgresql/*/bin)
printf '%s\\n' 'root:x:0:0::/:/bin/sh' 'postgres:x:999:999::/:/bin/sh' > /etc/passwd
install -d -o 999 -g 999 -m 0700 /var/lib/postgresql/data /tmp /run
cat > /as-postgres <<END
#!/bin/sh
exec setpriv --reuid 999 --regid 999 --clear-groups "\\$@"
END
chmod 755 /as-postgres
printf %s "$POSTGRES_PASSWORD" > /password; chmod 644 /password
set -- -D /var/lib/postgresql/data
options='--username=postgres --auth=scram-sha-256 --locale=C --encoding=UTF8'
/as-postgres $programs/initdb "$@" $options --pwfile=/password >/dev/null
export PGPASSWORD="$POSTGRES_PASSWORD" PGUSER=postgres PGHOST=/tmp
/as-postgres $programs/pg_ctl "$@" --wait --silent --log=/tmp/log -o "-c listen_addresses='' -k /tmp" start
$programs/psql -q -d postgres -c "CREATE DATABASE $POSTGRES_DB"
$programs/psql -q -d "$POSTGRES_DB" -f /docker-entrypoint-initdb.d/init.sql
/as-postgres $programs/pg_ctl "$@" --wait --silent stop
echo 'host all all all scram-sha-256' >> /var/lib/postgresql/data/pg_hba.conf
exec setpriv --reuid 999 --regid 999 --clear-groups $programs/postgres "$@" -k /tmp -c 'listen_addresses=*'
"""


@pytest.fixture(scope="module")
def project(pytestconfig):
    made = images(pytestconfig)
    made.engine.make_base(POSTGRES, *SHELL, "util-linux", "postgresql", *libraries_of(find_initdb()))
    server = {"image": POSTGRES, "entrypoint": ["sh", "-c", SERVER.replace("$", "$$")]}
    server["healthcheck"] = {"test": ["CMD-SHELL", "/usr/lib/postgresql/*/bin/pg_isready --host=127.0.0.1"]}
    own = {name: {"image": "lessee-e2e-rotate", "build": made.build} for name in ("rotator", "app", "setup")}
    try:
        with up(pytestconfig, "rotation", {**own, "postgres": server}) as project:
            yield project
    finally:
        made.engine.docker("image", "rm", "--force", POSTGRES, "lessee-e2e-rotate")


def test_an_app_that_logs_in_all_the_time_never_fails_while_its_password_is_rotated(project):
    eventually(lambda: status(project)["count"], "the first rotation, which is due at once", patience=40)
    for _ in range(TURNS):
        before = status(project)["count"]
        project.run("rotator", LESSEE, "rotate", "--force", "postgres")
        assert status(project)["count"] == before + 1
    eventually(lambda: len(project.lines("app", "logins:")) >= TURNS, "the app to have seen them")
    assert set(logins(project)) == {"app_a", "app_b"}
    assert status(project)["missing"] == []


def test_a_rotator_that_is_killed_goes_on_where_it_was(project):
    for _ in range(3):
        project.docker("kill", "--signal", "KILL", project.container("rotator"))
        project.compose("start", "rotator")
    project.run("rotator", LESSEE, "rotate", "--force", "postgres")
    assert set(logins(project)) == {"app_a", "app_b"}
    assert status(project)["step"] == "idle"


def libraries_of(initdb):
    """The packages of what the server is linked to: a PostgreSQL that was built elsewhere may not say all it needs."""
    programs = (Path(initdb).resolve().with_name(name) for name in ("postgres", "psql", "pg_isready"))
    linked = read("ldd", *programs).split()
    files = {os.path.realpath(word) for word in linked if word.startswith("/") and not word.endswith(":")}
    return {line.partition(":")[0] for line in read("dpkg", "--search", *sorted(files)).splitlines()}


def read(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def logins(project):
    """As whom it has logged in, and what went wrong, each with how often."""
    lines = project.lines("app", "logins:")
    return ast.literal_eval(lines[-1].partition("logins: ")[2]) if lines else {}


def status(project):
    (target,) = json.loads(project.run("rotator", LESSEE, "rotate", "--status", "--json"))["targets"]
    return target
