"""Targets of MariaDB, RabbitMQ and LDAP by the commands: dry run, rotation, validation, policy and emergency."""

import json
import os
from itertools import count

import pytest
import yaml

from lessee.host.mysql_client import account
from lessee.host.openbao import ROOT_TOKEN
from support.programs.forks import run_lessee
from support.systems.ldap import TwoEntries
from support.systems.mysql import Users
from support.systems.rabbitmq import BrokerUsers

KINDS = {"mysql": Users, "rabbitmq": BrokerUsers, "ldap": TwoEntries}
NUMBERS = count()


class Project:
    """An environment with a target of each kind, and the command."""

    def __init__(self, bao, folder, systems):
        self.bao, self.folder, self.systems = bao, folder, systems
        self.environment = f"engines-{next(NUMBERS)}"
        times = {"confirmation_timeout": "100ms", "revoke_delay": "0s", "rotation_period": "24h"}
        self.targets = {name: {**system.target, **times} for name, system in systems.items()}
        config = {"environment": self.environment, "vault": {"address": bao.address}, "rotation": self.targets}
        config["setup"] = {"environments": [self.environment]}
        (folder / "lessee.yaml").write_text(yaml.safe_dump(config))
        for system in systems.values():
            for path, fields in system.secrets().items():
                self.put(path, **fields)

    def put(self, path, **fields):
        return self.bao.put(f"{self.environment}/{path}", **fields)

    def fields(self, name):
        path = f"secret/data/{self.environment}/{self.targets[name]['secret']}"
        return self.bao.ask("GET", path)["data"]["data"]

    def change(self, name, **fields):
        """Change fields of the secret of a target."""
        self.put(self.targets[name]["secret"], **{**self.fields(name), **fields})

    def run(self, *words, code=0):
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "VAULT_TOKEN": ROOT_TOKEN}
        done = run_lessee(*words, cwd=self.folder, env=environ)
        assert done.returncode == code, done.stdout + done.stderr
        for name in self.targets:
            assert self.fields(name)["password"] not in done.stdout + done.stderr
        return done.stdout

    def failed(self):
        """The checks of `lessee validate` that fail."""
        done = run_lessee(
            "validate", "--component", "rotation", "--format", "json",
            cwd=self.folder, env={"PATH": os.environ["PATH"], "VAULT_TOKEN": ROOT_TOKEN},
        )  # fmt: skip
        results = json.loads(done.stdout)["results"]
        assert done.returncode == any(result["passed"] is False for result in results)
        # After a failure the command looks at Vault too.
        own = [result for result in results if result["component"] == "rotation"]
        assert own
        return {result["check"]: result["todo"] for result in own if result["passed"] is False}


@pytest.fixture
def project(bao, tmp_path, request):
    return Project(bao, tmp_path, {name: kind(request.getfixturevalue(kind.server)) for name, kind in KINDS.items()})


@pytest.mark.thorough
def test_a_dry_run_says_what_would_change_and_changes_nothing(project):
    before = {name: project.fields(name) for name in KINDS}
    text = project.run("rotate", "--all", "--dry-run")
    assert f"to {project.systems['mysql'].users[1]}, with a new password" in text
    assert f"a user {project.systems['rabbitmq'].user}-… gets the permissions" in text
    assert f"to {project.systems['ldap'].entries[1]}, with a new password" in text
    assert {name: project.fields(name) for name in KINDS} == before


def test_what_is_published_by_a_rotation_passes_the_validation(project):
    assert project.failed() == {}
    before = {name: project.fields(name) for name in KINDS}
    project.run("rotate", "--all", "--force")
    for name, system in project.systems.items():
        assert system.accepts(project.fields(name))
        assert not system.accepts(before[name])
    assert project.failed() == {}


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize(
    ("name", "fields", "check"),
    [
        ("mysql", {"password": "mistyped"}, "mysql-login"),
        ("mysql", {"database": "missing"}, "mysql-database"),
        ("mysql", {"port": 1}, "mysql-reachable"),
        ("mysql", {"tls": True}, "mysql-login"),
        ("rabbitmq", {"password": "mistyped"}, "rabbitmq-login"),
        ("rabbitmq", {"vhost": "missing"}, "rabbitmq-vhost"),
        ("rabbitmq", {"port": 1}, "rabbitmq-reachable"),
        ("rabbitmq", {"tls": True}, "rabbitmq-login"),
        ("ldap", {"password": "mistyped"}, "ldap-login"),
        ("ldap", {"url": "ldap://127.0.0.1:1"}, "ldap-reachable"),
        ("ldap", {"start_tls": True}, "ldap-login"),
    ],
)
def test_a_broken_part_fails_its_own_check_with_a_todo(project, name, fields, check):
    project.change(name, **fields)
    failed = project.failed()
    assert list(failed) == [check]
    assert failed[check]


def test_a_secret_that_does_not_exist_fails_the_validation(project):
    project.bao.ask("DELETE", f"secret/metadata/{project.environment}/{project.targets['ldap']['secret']}")
    assert list(project.failed()) == ["ldap-secret"]


def test_the_rotator_s_policy_covers_its_targets_and_their_admins(project):
    text = project.run("check", "--policy", "--rotator")
    for target in project.targets.values():
        assert f"secret/data/{project.environment}/{target['admin_secret']}" in text
        assert f"secret/metadata/{project.environment}/{target['secret']}" in text


def test_an_emergency_revokes_each_old_credential_immediately(project):
    before = {name: project.fields(name) for name in KINDS}
    text = project.run("emergency", "--environment", project.environment, "--yes")
    for name, system in project.systems.items():
        assert system.accepts(project.fields(name))
        assert not system.accepts(before[name])
        assert system.orphans(project.fields(name)) == set()
    assert before["rabbitmq"]["username"] not in project.systems["rabbitmq"].rabbitmq.users()
    assert f"KILL USER {project.systems['mysql'].users[0]}"[:20] in text


def test_an_emergency_reports_accounts_that_are_not_the_target_s(project):
    mysql, directory = project.systems["mysql"], project.systems["ldap"].directory
    stranger = f"stranger {project.environment}"
    mysql.mariadb.sql(f"CREATE OR REPLACE USER {account(stranger, '%')} IDENTIFIED BY 'manual'")
    mysql.mariadb.sql(f"GRANT SELECT ON shop.* TO {account(stranger, '%')}")
    entry = project.systems["ldap"].entries[0].replace("cn=shop", "cn=stranger")
    directory.add_service(entry, "manual")
    project.systems["rabbitmq"].rabbitmq.add_user(stranger, "manual", **{"/": ("", "", "")})
    project.change("mysql", username=stranger, password="manual")
    project.change("rabbitmq", username=stranger, password="manual")
    project.change("ldap", dn=entry, password="manual")
    text = project.run("emergency", "--environment", project.environment, "--yes", code=75)
    assert f"{stranger} is not in `users`, and can still log in" in text
    assert f"{stranger} is not in `user`, and can still log in" in text
    assert "is not in `accounts`, and can still log in" in text
