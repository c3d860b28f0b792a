"""libpq reads the format pgpass: that of psycopg reads every value, and that of psql logs in to a real server."""

import os
import re
import shutil
import subprocess

import pytest
from psycopg import pq, sql
from psycopg.conninfo import make_conninfo

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import write
from support.inputs.hostile_values import VALUES
from support.needs import need

FITTING = [value for value in VALUES if not re.search("[\n\r\0]", value)]
NAMES = ("*", "#comment", "a:b\\:c", "\\", "'\"`\\$", " both ", "p@ss/w:rd", "é😀")


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document("x", tuple(part if isinstance(part, str) else Placeholder(part[0], "a value") for part in parts))


@pytest.fixture
def file(tmp_path):
    """A password file that libpq accepts, because only its owner can read it."""
    path = tmp_path / ".pgpass"
    path.touch(mode=0o600)
    return path


def password(file, **who):
    """The password that libpq reads from the file for a new connection, without a server."""
    calm = {"hostaddr": "127.0.0.1", "sslmode": "disable", "gssencmode": "disable", "passfile": file}
    connection = pq.PGconn.connect_start(make_conninfo(**calm, **who).encode())
    try:
        return connection.password.decode()
    finally:
        connection.finish()


def test_every_hostile_password_reads_back_unchanged(file):
    lines = [("h:1:d:u", str(n), ":", [value], "\n") for n, value in enumerate(FITTING)]
    file.write_bytes(write(document(*(part for line in lines for part in line)), "pgpass").encode())
    read = [password(file, host="h", port="1", dbname="d", user=f"u{n}") for n in range(len(FITTING))]
    assert read == FITTING
    assert not password(file, host="h", port="1", dbname="d", user="other")


@pytest.mark.parametrize("field", ["host", "port", "dbname", "user"])
def test_every_hostile_name_matches_only_itself(file, field):
    # libpq wants each of them not empty, and takes a comma for the next host or port.
    values = [value for value in FITTING if value and not ("," in value and field in {"host", "port"})]
    fields = {"host": "h", "port": "1", "dbname": "d", "user": "u"}
    who = [fields | {field: value} for value in values]
    lines = [(*(part for text in one.values() for part in ([text], ":")), f"p{n}\n") for n, one in enumerate(who)]
    file.write_bytes(write(document(*(part for line in lines for part in line)), "pgpass").encode())
    assert [password(file, **one) for one in who] == [f"p{n}" for n in range(len(values))]
    assert not password(file, **fields | {field: "other"})


def test_a_value_that_does_not_fit_on_a_line_is_rejected():
    for value in set(VALUES) - set(FITTING):
        for parts in (("h:1:d:u:", [value]), ([value], ":1:d:u:p"), ("h:1:d:u:x", [value], "x\n")):
            with pytest.raises(FormatError, match="contains a newline or a NUL"):
                write(document(*parts), "pgpass")


def test_psql_logs_in_with_the_written_file(file, postgres):
    need(shutil.which("psql"), "needs psql: apt install postgresql-client")
    secrets = {f"user{n}": secret for n, secret in enumerate((*FITTING[::90], "a" * 5000))}
    secrets |= dict(zip(NAMES, reversed(NAMES), strict=True))
    for user, secret in secrets.items():
        postgres.sql(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(user), sql.Literal(secret)))
    lines = [("127.0.0.1:", [postgres.port], ":*:", [user], ":", [secret], "\n") for user, secret in secrets.items()]
    file.write_bytes(write(document(*(part for line in lines for part in line)), "pgpass").encode())
    environ = {"PATH": os.environ["PATH"], "PGPASSFILE": str(file), "PGCLIENTENCODING": "UTF8"}
    command = ["psql", "-wAtX", "-h127.0.0.1", f"-p{postgres.port}", "-dpostgres", "-cSELECT session_user", "-U"]
    for user in secrets:
        done = subprocess.run([*command, user], env=environ, capture_output=True, check=False, timeout=20)
        assert done.stdout.decode() == f"{user}\n", done.stderr
    for user in secrets:
        postgres.sql(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))
