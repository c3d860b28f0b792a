"""`lessee audit report` lists permissions, ages of secrets and exceptions, each with its source."""

import csv
import io
import json
import os
import subprocess
import time

import pytest

from lessee.host.openbao import OpenBao
from support.environments.setup_namespace import AUDIT, CANARY, SetupNamespace
from support.servers.alert_receivers import MailServer
from support.servers.vault_server import certificate

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


def report(ground, *arguments, code=0):
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
    return json.loads(report(ground, "--format", "json", *arguments, **settings))


def test_a_report_on_a_new_environment_has_a_source_for_each_row(ground):
    result = data(ground)
    rows = [row for section in ("actions", "access", "rotation", "separation", "exceptions") for row in result[section]]
    assert all(row["source"] for row in rows)
    assert {
        "environment": "production",
        "actor": "AppRole approle/production-app",
        "item": "secret/data/production/*",
        "detail": "read",
        "time": "",
        "source": "auth/approle/role/production-app, sys/policies/acl/production-app",
    } in result["access"]
    assert not any(row["environment"] == "testing" and "production" in row["item"] for row in result["access"])
    assert {row["environment"]: row["item"] for row in result["separation"]} == {
        name: f"{row_count(result, name)} policies reach it, 0 of them another environment too"
        for name in ("development", "testing", "production")
    }
    started = next(row for row in result["actions"] if row["item"] == "set up" and row["detail"] == "started")
    assert started["source"] == f"{ground.disk}/trail/000000000001.jsonl:1"
    ages = {(row["environment"], row["item"]): row for row in result["rotation"]}
    assert ages["production", "api-keys/openrouter"]["detail"] == "0m old; every 1d"
    assert "no target rotates it" in ages["production", "database/postgres"]["detail"]
    assert ages["production", "database/postgres"]["source"] == "secret/metadata/production/database/postgres"
    found = {(row["environment"], row["item"]) for row in result["exceptions"]}
    assert ("testing", "database/postgres") in found
    assert ("", "operator actions proceed even if they cannot be recorded") in {("", what) for _, what in found}


def row_count(result, environment):
    return int(next(row["item"] for row in result["separation"] if row["environment"] == environment).split()[0])


def test_shared_policies_alterations_and_failures_are_exceptions(ground):
    ground.ask("PUT", "sys/policies/acl/both", {"policy": RIGHT % "testing" + RIGHT % "production"})
    ground.ask("POST", "auth/approle/role/both", {"token_policies": "both"})
    ground.ask("PUT", "sys/policies/acl/testing-ci", {"policy": RIGHT % "testing"})
    ground.run(code=75)
    file = ground.disk / "trail" / "000000000001.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:4], *lines[5:]]))
    result = data(ground)
    both = next(row for row in result["separation"] if row["actor"] == "policy both")
    assert both["item"] == "reaches testing, production"
    assert "secret/data/production/" in both["detail"]
    found = {row["item"]: row for row in result["exceptions"]}
    assert found["the audit trail was altered"]["source"] == f"{file}:5"
    assert found["the audit trail was altered"]["detail"] == "entry 6: entry 5 is missing before it"
    assert "testing-ci" in found["manual change"]["detail"]


@pytest.mark.thorough
def test_the_period_is_respected_and_no_csv_cell_is_a_formula(ground):
    tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400))
    assert data(ground, "--from", tomorrow, "--offline")["actions"] == []
    assert data(ground, "--to", "2020-01-01", "--offline")["actions"] == []
    assert data(ground, "--from", "2020-01-01", "--to", tomorrow, "--offline")["actions"]
    status = {
        "environment": "production",
        "accesses": {
            "by_path": [{"path": "=1+1", "component": "@app", "address": "10.0.0.7", "total": 3, "last_at": None}]
        },
        "alerts": [{"rule": "root", "subject": "-x", "started_at": None, "text": "+1"}],
    }
    (ground.disk / "monitor.json").write_text(json.dumps(status))
    rows = list(
        csv.DictReader(io.StringIO(report(ground, "--format", "csv", "--accesses", "monitor.json", "--offline")))
    )
    read = next(row for row in rows if row["section"] == "reads")
    assert (read["item"], read["actor"], read["detail"]) == ("'=1+1", "'@app from 10.0.0.7", "3 times")
    assert read["source"] == "monitor.json: accesses.by_path[0]"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert "EXCEPTIONS (" in report(ground, "--offline")


@pytest.mark.thorough
def test_a_forged_entry_is_not_an_action_and_a_missing_trail_is_an_exception(ground):
    file = ground.disk / "trail" / "000000000001.jsonl"
    line = file.read_bytes().splitlines(keepends=True)[0]
    forged = line.replace(b'"set up"', b'"emptied"').replace(b'"subject":{', b'"subject":{"version":"invalid",')
    assert forged != line
    with file.open("ab") as stream:
        stream.write(forged + b"invalid\n\xff")
    result = data(ground, "--offline")
    assert result["actions"]
    assert not any("emptied" in row["item"] for row in result["actions"])
    assert sum(row["item"] == "the audit trail was altered" for row in result["exceptions"]) >= 3
    (ground.disk / "trail").rename(ground.disk / "elsewhere")
    result = data(ground, "--offline")
    assert (result["actions"], result["exceptions"][0]["item"]) == ([], "the audit trail cannot be read")
    status = ground.disk / "agent.json"
    for text in ('{"apps": {}, "ready": true}', "[]", "[" * 100_000, ""):
        status.write_text(text)
        report(ground, "--offline", "--accesses", "agent.json", code=64)


def test_an_unreachable_server_is_an_exception_and_the_rest_is_reported(ground):
    ground.config["vault"]["address"] = "http://127.0.0.1:9"
    result = data(ground, code=75)
    assert result["actions"]
    assert next(row for row in result["exceptions"] if row["item"] == "not checked: Vault")


@pytest.mark.thorough
def test_a_schedule_writes_the_report_of_each_period_once_and_sends_it(ground, tmp_path):
    folder, words = tmp_path / "reports", ("--format", "json", "--mail")

    def command():
        return ground.command("audit", "report", "--every", "60s", "--output", str(folder), *words)

    def refused():
        done = subprocess.run(
            command(), cwd=ground.disk, env=ground.environ, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stderr

    code, said = refused()
    assert code == 78
    assert "add `monitor.alerts.smtp`, or omit --mail" in said
    certificate(tmp_path / "tls")
    (tmp_path / "pair.pem").write_bytes(
        (tmp_path / "tls/tls.crt").read_bytes() + (tmp_path / "tls/tls.key").read_bytes()
    )
    (tmp_path / "password").write_text(MailServer.password)
    with MailServer(tmp_path / "pair.pem") as server:
        smtp = {
            "server": server.address,
            "sender": "a@x.test",
            "to": ["b@x.test"],
            "ca_file": str(tmp_path / "tls/ca.crt"),
        }
        smtp |= {"username": "ops", "password_file": str(tmp_path / "password")}
        ground.config["monitor"] = {"audit": {"file": str(tmp_path / "audit.log")}, "alerts": {"smtp": smtp}}
        code, said = refused()
        assert code == 73
        assert f"{folder}: the folder of the reports: No such file or directory" in said
        folder.mkdir(mode=0o700)
        for _ in range(2):
            with subprocess.Popen(command(), cwd=ground.disk, env=ground.environ, stdout=subprocess.PIPE) as process:
                assert any(b"next report at" in line for line in process.stdout)
                process.terminate()
                assert process.wait(60) == 0
        reports = sorted(folder.iterdir())
        assert len(server.mails) == len(reports), "each was sent once"
    assert reports[0].stat().st_mode & 0o777 == 0o600
    assert json.loads(reports[0].read_text())["access"]
    assert reports[0].name in server.mails[0].content.decode()
    assert CANARY not in reports[0].read_text()
