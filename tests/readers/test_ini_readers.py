"""configparser, pip and libpq's service files read the format ini. npm's ini differs as tested here."""

import ast
import configparser
import json
import os
import re
import subprocess
import sys

import pytest
from psycopg import pq
from psycopg.conninfo import make_conninfo

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import write
from support.inputs.hostile_values import VALUES
from support.needs import need
from support.npm import packages

FITTING = [value for value in VALUES if value == value.strip() and not re.search("[\n\r\0]", value)]


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document("x", tuple(part if isinstance(part, str) else Placeholder(part[0], "a value") for part in parts))


def written(values, *, between=" = "):
    """One section for each value, so a value with structure is detected."""
    lines = [(f"[s{n}]\nuser{between}first\npassword{between}", [value], "\n") for n, value in enumerate(values)]
    return write(document(*(part for line in lines for part in line)), "ini").encode()


def sections(values):
    return {f"s{n}": {"user": "first", "password": value} for n, value in enumerate(values)}


def test_every_hostile_value_that_fits_reads_back_unchanged(tmp_path):
    path = tmp_path / "app.ini"
    path.write_bytes(written(FITTING))
    parser = configparser.RawConfigParser()
    parser.read(path, encoding="utf-8")
    assert {name: dict(parser[name]) for name in parser.sections()} == sections(FITTING)


def test_every_hostile_value_that_fits_is_unchanged_for_a_reader_that_interpolates(tmp_path):
    path = tmp_path / "app.ini"
    lines = [part for n, value in enumerate(FITTING) for part in (f"[s{n}]\nuser = first\npassword = ", [value], "\n")]
    path.write_text(write(document(*lines), "ini-interpolation"), encoding="utf-8")
    parser = configparser.ConfigParser()
    parser.read(path, encoding="utf-8")
    assert {name: dict(parser[name]) for name in parser.sections()} == sections(FITTING)
    # The format ini is for readers without interpolation: this one refuses many of its values.
    path.write_bytes(written(["%"]))
    parser.read(path, encoding="utf-8")
    with pytest.raises(configparser.InterpolationSyntaxError):
        parser.get("s0", "password")


def test_results_beyond_the_limits_are_rejected():
    for value in set(VALUES) - set(FITTING):
        with pytest.raises(FormatError, match=r"a value (has white space at an end|contains a newline or a NUL)"):
            written([value])


def test_pip_reads_every_hostile_value(tmp_path):
    path = tmp_path / "pip.conf"
    path.write_bytes(written(FITTING))
    command = [sys.executable, "-m", "pip", "config", "list"]
    environ = os.environ | {"PIP_CONFIG_FILE": str(path), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    read = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {name: ast.literal_eval(value) for name, value in read.items() if name.startswith("s")} == {
        f"{name}.{key}": value for name, section in sections(FITTING).items() for key, value in section.items()
    }


def test_libpq_reads_every_hostile_value_of_a_short_line_of_a_service_file(tmp_path, monkeypatch):
    short = [value for value in FITTING if len(f"password={value}\n".encode()) < 1023]
    path = tmp_path / "pg_service.conf"
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    # It knows no space around the equals sign.
    path.write_bytes(written(short, between="="))
    assert {f"s{n}": service(f"s{n}") for n in range(len(short))} == sections(short)


def service(name):
    """The options that libpq reads from the service file for a new connection, without a server."""
    conninfo = make_conninfo(service=name, hostaddr="127.0.0.1", port="1", sslmode="disable", gssencmode="disable")
    connection = pq.PGconn.connect_start(conninfo.encode())
    try:
        found = {option.keyword.decode(): option.val for option in connection.info}
        return {key: found[key].decode() for key in ("user", "password")}
    finally:
        connection.finish()


def test_npms_ini_differs_only_in_quotes_comments_and_special_words():
    # It ends a value at ; and #, takes off quotes around it and one of two backslashes, and has true, false and null.
    own = re.compile("[;#\u2028\u2029]|\\\\\\\\|^['\"]|^\ufeff|\ufeff$|^(true|false|null)$")
    plain = [value for value in FITTING if not own.search(value)]
    need((packages() / "node_modules" / "ini").exists(), "needs ini in tests/readers/package.json")
    script = "const text = require('fs').readFileSync(0, 'utf8'); const {parse} = require('ini')"
    command = ["node", "-e", f"{script}; process.stdout.write(JSON.stringify(parse(text)))"]
    done = subprocess.run(command, cwd=packages(), input=written(plain), capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == sections(plain)
