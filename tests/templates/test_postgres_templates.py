"""libpq reads the templates of Postgres: psql logs in with them, and every hostile password is read unchanged."""

import os
import re
import shutil
import subprocess
from urllib.parse import quote

import pytest
import yaml
from dotenv import dotenv_values
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lessee.core.errors import FormatError
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, rendered, use, written
from support.needs import need

SERVICE = {"template": "postgres/pg_service.conf.j2", "format": "ini"}
PGPASS = {"template": "postgres/.pgpass.j2", "mode": "0400"}
DATABASE = "d:b/ü\\ %"
WHO = ["psql", "-wAtX", "-c", "SELECT session_user, current_database()"]
MEANT = {"host": "db", "port": "5432", "dbname": "simba", "user": "simba"}
BREAKS = re.compile("[\n\r\0]")


@pytest.fixture
def login(bao, postgres):
    """A database and a role with a hostile name and password; returns the output of psql after a login."""
    need(shutil.which("psql"), "needs psql: apt install postgresql-client")
    name, database = sql.Identifier(HOSTILE), sql.Identifier(DATABASE)
    postgres.sql(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(HOSTILE)))
    postgres.sql(sql.SQL("CREATE DATABASE {}").format(database))
    put(bao, postgres, HOSTILE)
    yield f"{HOSTILE}|{DATABASE}\n"
    postgres.sql(sql.SQL("DROP DATABASE {}").format(database))
    postgres.sql(sql.SQL("DROP ROLE {}").format(name))


def put(bao, postgres, password):
    place = {"host": "127.0.0.1", "port": postgres.port, "database": DATABASE, "sslmode": "disable"}
    bao.put("testing/database/postgres", username=HOSTILE, password=password, **place)


def psql(*arguments, **environ):
    environ = {"PATH": os.environ["PATH"], "PGCLIENTENCODING": "UTF8", **environ}
    done = subprocess.run([*WHO, *arguments], env=environ, capture_output=True, check=False, timeout=20)
    return done.stdout.decode() or done.stderr.decode()


def test_psql_logs_in_by_the_password_file(sidecar, postgres, login):
    file = rendered(sidecar, PGPASS) / ".pgpass"
    who = make_conninfo(host="127.0.0.1", port=postgres.port, dbname=DATABASE, user=HOSTILE)
    assert psql("-d", who, PGPASSFILE=str(file)) == login
    file.chmod(0o440)
    assert "has group or world access" in psql("-d", who, PGPASSFILE=str(file))


def test_psql_logs_in_by_the_service_file(sidecar, login):
    file = rendered(sidecar, SERVICE) / "pg_service.conf"
    assert psql("-d", "service=app", PGSERVICEFILE=str(file)) == login


def test_psql_logs_in_by_the_url(sidecar, login):
    values = dotenv_values(rendered(sidecar, "postgres/database.env.j2") / "database.env")
    assert psql("-d", values.pop("DATABASE_URL")) == login
    assert not values


def test_psql_logs_in_by_the_environment_of_exec(sidecar, login):
    use(sidecar, env_template="postgres/libpq.env.j2")
    del sidecar.web["files"]
    sidecar.write_config()
    done = sidecar.command("exec", "--app", "web", "--", *WHO)
    assert done.stdout == login, done.stderr


def test_an_invalid_password_is_never_sent(bao, sidecar, postgres, login):
    app = yaml.safe_load(readmes.blocks("postgres", "yaml")[0])["apps"]["postgres"]
    use(sidecar, *app["files"], check=app["check"])
    sidecar.start()
    put(bao, postgres, "canary-value")
    sidecar.until(lambda status: status["apps"]["web"]["state"] == "rejected")
    assert psql("-d", "service=app", PGSERVICEFILE=str(sidecar.directory / "pg_service.conf")) == login
    assert "authentication failed" in sidecar.get("/output?of=web")[1]
    assert "canary" not in sidecar.log.read_text()


def test_libpq_reads_every_hostile_password_that_fits_on_a_line(tmp_path):
    for value in VALUES:
        secrets = secret_of(value)
        if BREAKS.search(value):
            with pytest.raises(FormatError, match="contains a newline or a NUL"):
                written("postgres/.pgpass.j2", "pgpass", secrets)
            continue
        file = tmp_path / "pgpass"
        file.write_text(written("postgres/.pgpass.j2", "pgpass", secrets))
        file.chmod(0o400)
        found = options(passfile=str(file), host="db", port="5432", dbname="simba", user="simba")
        file.unlink()
        assert found["password"] == value


def test_libpq_reads_every_hostile_password_of_a_service_except_long_lines_and_white_space_at_an_end(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "pg_service.conf"))
    for value in VALUES:
        secrets = secret_of(value)
        if BREAKS.search(value) or value != value.strip():
            with pytest.raises(FormatError, match=r"contains a newline or a NUL|has white space at an end"):
                written(SERVICE["template"], "ini", secrets)
            continue
        if len(value.encode()) > 1000:  # libpq reports an error.
            continue
        (tmp_path / "pg_service.conf").write_text(written(SERVICE["template"], "ini", secrets))
        assert options(service="app") == MEANT | {"password": value}


def test_libpq_reads_every_hostile_value_of_a_url_except_nul(tmp_path):
    file = tmp_path / "database.env"
    for value in VALUES:
        if "\0" in value:  # libpq reports an error, as no environment can contain NUL.
            continue
        file.write_text(written("postgres/database.env.j2", "dotenv", secret_of(value, username=value)))
        url = dotenv_values(file)["DATABASE_URL"]
        assert url == f"postgresql://{quote(value, safe='')}:{quote(value, safe='')}@db:5432/simba"
        assert {"user": "", "password": ""} | conninfo_to_dict(url) == MEANT | {"user": value, "password": value}


def secret_of(password, **fields):
    fields = {"host": "db", "port": 5432, "database": "simba", "username": "simba"} | fields
    return {"database/postgres": {**fields, "password": password}}


def options(**conninfo):
    """The options that libpq uses for a new connection, without a server."""
    calm = {"hostaddr": "127.0.0.1", "sslmode": "disable", "gssencmode": "disable"}
    connection = pq.PGconn.connect_start(make_conninfo(**calm, **conninfo).encode())
    try:
        found = {option.keyword.decode(): option.val for option in connection.info}
        read = {key: found[key].decode() for key in ("host", "port", "dbname", "user") if found[key]}
        return read | {"password": connection.password.decode()}
    finally:
        connection.finish()


def test_the_readme_names_every_template_and_its_configurations_are_right(tmp_path):
    readmes.check("postgres", tmp_path)
