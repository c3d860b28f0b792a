"""`lessee audit report` tells who may do what, how old secrets are, and what is out of order, each with its source."""

import csv
import io
import json
import os
import subprocess
import time

import pytest

from lessee.host.openbao import OpenBao
from support.environments.setup_namespace import AUDIT, CANARY, SetupNamespace

RIGHT = 'path "secret/data/%s/*" { capabilities = ["read"] }\n'


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    with OpenBao(folder, config=AUDIT % (folder / "audit.log")) as server:
        yield server


@pytest.fixture
def ground(audited, tmp_path):
    one = SetupNamespace(audited, f"report{os.urandom(4).hex()}", tmp_path)
    one.config["audit_trail"] = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key")}
    one.config["rotation"] = {
        "keys": {"kind": "vault", "secret": "api-keys/openrouter", "keys": {"api_key": {}}, "rotation_period": "24h"}
    }
    one.run()
    return one


def told(ground, *arguments, code=0):
    done = subprocess.run(
        ground.command("audit", "report", *arguments),
        cwd=ground.disk,
        env=ground.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert CANARY not in done.stdout + done.stderr
    return done.stdout


def data(ground, *arguments, **settings):
    return json.loads(told(ground, "--format", "json", *arguments, **settings))


def test_a_report_on_a_new_environment_holds_its_facts_each_with_a_source(ground):
    said = data(ground)
    rows = [row for section in ("acts", "access", "rotation", "separation", "exceptions") for row in said[section]]
    assert all(row["source"] for row in rows)
    assert {
        "environment": "production",
        "who": "AppRole approle/production-app",
        "what": "secret/data/production/*",
        "detail": "read",
        "at": "",
        "source": "auth/approle/role/production-app, sys/policies/acl/production-app",
    } in said["access"]
    assert not any(row["environment"] == "testing" and "production" in row["what"] for row in said["access"])
    assert {row["environment"]: row["what"] for row in said["separation"]} == {
        name: f"{row_count(said, name)} policies reach it, 0 of them another environment too"
        for name in ("development", "testing", "production")
    }
    started = next(row for row in said["acts"] if row["what"] == "set up" and row["detail"] == "started")
    assert started["source"] == f"{ground.disk}/trail/000000000001.jsonl:1"
    ages = {(row["environment"], row["what"]): row for row in said["rotation"]}
    assert ages["production", "api-keys/openrouter"]["detail"] == "0m old; every 1d"
    assert "no target rotates it" in ages["production", "database/postgres"]["detail"]
    assert ages["production", "database/postgres"]["source"] == "secret/metadata/production/database/postgres"
    found = {(row["environment"], row["what"]) for row in said["exceptions"]}
    assert ("testing", "database/postgres") in found
    assert ("", "an operator may act though it cannot be recorded") in {("", what) for _, what in found}


def row_count(said, environment):
    return int(next(row["what"] for row in said["separation"] if row["environment"] == environment).split()[0])


def test_what_reaches_two_environments_what_was_altered_and_what_failed_are_exceptions(ground):
    ground.ask("PUT", "sys/policies/acl/both", {"policy": RIGHT % "testing" + RIGHT % "production"})
    ground.ask("POST", "auth/approle/role/both", {"token_policies": "both"})
    ground.ask("PUT", "sys/policies/acl/testing-ci", {"policy": RIGHT % "testing"})
    ground.run(code=75)
    file = ground.disk / "trail" / "000000000001.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:4], *lines[5:]]))
    said = data(ground)
    both = next(row for row in said["separation"] if row["who"] == "policy both")
    assert both["what"] == "reaches testing, production"
    assert "secret/data/production/" in both["detail"]
    found = {row["what"]: row for row in said["exceptions"]}
    assert found["the audit trail was altered"]["source"] == f"{file}:5"
    assert found["the audit trail was altered"]["detail"] == "entry 6: entry 5 is missing before it"
    assert "testing-ci" in found["changed by hand"]["detail"]


def test_a_time_is_what_is_asked_for_and_a_spreadsheet_takes_no_cell_for_a_formula(ground):
    tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400))
    assert data(ground, "--from", tomorrow, "--offline")["acts"] == []
    assert data(ground, "--to", "2020-01-01", "--offline")["acts"] == []
    assert data(ground, "--from", "2020-01-01", "--to", tomorrow, "--offline")["acts"]
    status = {
        "environment": "production",
        "accesses": {
            "by_path": [{"path": "=1+1", "component": "@app", "address": "10.0.0.7", "total": 3, "last_at": None}]
        },
        "alerts": [{"rule": "root", "subject": "-x", "started_at": None, "text": "+1"}],
    }
    (ground.disk / "monitor.json").write_text(json.dumps(status))
    rows = list(csv.DictReader(io.StringIO(told(ground, "--format", "csv", "--accesses", "monitor.json", "--offline"))))
    read = next(row for row in rows if row["section"] == "reads")
    assert (read["what"], read["who"], read["detail"]) == ("'=1+1", "'@app from 10.0.0.7", "3 times")
    assert read["source"] == "monitor.json: accesses.by_path[0]"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert "EXCEPTIONS (" in told(ground, "--offline")


def test_what_somebody_forged_is_no_act_and_a_trail_that_is_gone_is_an_exception(ground):
    file = ground.disk / "trail" / "000000000001.jsonl"
    line = file.read_bytes().splitlines(keepends=True)[0]
    forged = line.replace(b'"set up"', b'"emptied"').replace(b'"subject":{', b'"subject":{"version":"rubbish",')
    assert forged != line
    with file.open("ab") as stream:
        stream.write(forged + b"rubbish\n\xff")
    said = data(ground, "--offline")
    assert said["acts"]
    assert not any("emptied" in row["what"] for row in said["acts"])
    assert sum(row["what"] == "the audit trail was altered" for row in said["exceptions"]) >= 3
    (ground.disk / "trail").rename(ground.disk / "elsewhere")
    said = data(ground, "--offline")
    assert (said["acts"], said["exceptions"][0]["what"]) == ([], "the audit trail cannot be read")
    status = ground.disk / "agent.json"
    for text in ('{"apps": {}, "ready": true}', "[]", "[" * 100_000, ""):
        status.write_text(text)
        told(ground, "--offline", "--accesses", "agent.json", code=64)


def test_a_server_that_is_away_is_an_exception_and_the_rest_is_still_told(ground):
    ground.config["vault"]["address"] = "http://127.0.0.1:9"
    said = data(ground, code=75)
    assert said["acts"]
    assert next(row for row in said["exceptions"] if row["what"] == "not looked at: Vault")
