"""PgBouncer reads the templates: every hostile password that fits logs in, and no value becomes a setting."""

import os
import re

import psycopg
import pytest
from psycopg import sql

from lessee.core.errors import FormatError, TemplateError
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, TEMPLATES, written
from support.paths import ROOT
from support.servers.pgbouncer import PgBouncer
from support.thorough import sampled

INJECTED = ("x' host='203.0.113.1", "x\\' host=y '", "x'' ", "'", '" "admin" "', "%include /etc/passwd", "; x", "=")


@pytest.fixture
def start(memory):
    """A function that writes both files and starts a PgBouncer with them."""
    started = []
    memory.chmod(0o755)

    def start(databases, users, **settings):
        for name, text in (("databases.ini", databases), ("userlist.txt", users)):
            (memory / name).write_text(text)
        started.append(PgBouncer(memory, memory, **settings))
        return started[-1].__enter__()

    yield start
    for server in started:
        server.__exit__()


def databases(**login):
    fields = {"host": "127.0.0.1", "port": 1, "database": "d", "username": "u", "password": "p"}
    return written("pgbouncer/databases.ini.j2", "ini", {"database/postgres": {**fields, **login}})


def users(clients):
    return written("pgbouncer/userlist.txt.j2", "text", {"pgbouncer/clients": clients})


def test_hostile_logins_reach_postgresql_unchanged(start, postgres):
    values = [value for value in (HOSTILE, *INJECTED, *sampled(VALUES, of=90, key="pgbouncer")) if fits(value)]
    lines, roles = ["[databases]"], []
    for number, value in enumerate(values):
        name = f"b{os.urandom(4).hex()} {value[:20]}"
        roles.append(name)
        parts = sql.Identifier(name), sql.Literal(value)
        postgres.sql(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(*parts))
        login = databases(port=postgres.port, database="postgres", username=name, password=value)
        lines.append(login.splitlines()[-1].replace("app =", f"app{number} =", 1))
    server = start("\n".join(lines) + "\n", users({"app": "x"}), min_pool_size=0)
    for number, name in enumerate(roles):
        with server.connect(database=f"app{number}") as connection:
            assert connection.execute("SELECT session_user").fetchone() == (name,)
    for name in roles:
        postgres.sql(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_login_with_a_line_break_is_rejected():
    for value in ("a\nb = host=evil", "a\r\n[users]", "a\0b"):
        for field in ("host", "database", "username", "password"):
            with pytest.raises(FormatError, match="contains a newline or a NUL"):
                databases(**{field: value})
    assert "port=0 " in databases(port="5432 host=evil")


def test_hostile_clients_log_in_with_their_own_password_alone(start, postgres):
    role = f"b{os.urandom(4).hex()}"
    postgres.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    tokens = {f"c{number} '\"": value for number, value in enumerate((HOSTILE, *INJECTED, 'a\n"evil" ""\n"', "é😀"))}
    login = databases(port=postgres.port, database="postgres", username=role)
    server = start(login, users(tokens), auth="scram-sha-256")
    for name, token in tokens.items():
        with server.connect(name, token) as connection:
            assert connection.execute("SELECT session_user").fetchone() == (role,)
    for name, token in (("evil", ""), ("evil", None), ("admin", ""), ("c0 '\"", "x"), (role, "p"), ("c0 '\"", "")):
        with pytest.raises(psycopg.OperationalError, match=r"authentication failed|no password supplied"):
            server.connect(name, token)
    server.__exit__()
    postgres.sql(f"DROP ROLE {role}")


def test_a_client_with_a_nul_is_rejected():
    for clients in ({"app": "a\0b"}, {"a\0b": "x"}):
        with pytest.raises(TemplateError, match="contains a NUL"):
            users(clients)


def test_the_stack_has_the_files_and_settings_of_the_library():
    for name in ("databases.ini.j2", "userlist.txt.j2"):
        assert (ROOT / "compose/pgbouncer/lessee" / name).read_text() == (TEMPLATES / "pgbouncer" / name).read_text()
    (text,) = readmes.blocks("pgbouncer", "ini")
    own = (
        (ROOT / "compose/pgbouncer/pgbouncer/pgbouncer.ini")
        .read_text()
        .replace("/run/secrets/app", "/run/secrets/pgbouncer")
    )
    assert [line for line in own.splitlines() if not line.startswith(";")] == text.splitlines()


def test_the_readme_explains_how_to_use_each_template(tmp_path):
    readmes.check("pgbouncer", tmp_path)


def fits(value):
    """Whether PostgreSQL and one line of PgBouncer's file can hold it."""
    return value and not re.search("[\n\r\0]", value) and len(value.encode()) < 1000 and value == value.strip()
