"""An upgrade in place: the agent of 0.1.0 stops, and this one uses its token, leases and pending notifications.

The servers are real, and so are both agents: `e2e/versions/` has the package of 0.1.0 as it was.
"""

import signal

import pytest

from lessee.host.openbao import OpenBao
from support.environments.backups import contents, without_pruned
from support.programs.sidecar import Sidecar, eventually, pass_by
from support.programs.versions import Clients, EarlierVersion, lines_of, requests, until_lines

AUDIT = 'audit "file" "tests" { options { file_path = "%s" } }'
CREDS = '{% set db = dynamic("database/creds/upgrade") %}{{ db.username }} {{ db.password }}\n'
POLICY = """
path "database/creds/*" { capabilities = ["read"] }
path "secret/*" { capabilities = ["read", "list"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""


@pytest.fixture
def audit_log(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
def server(tmp_path, audit_log, postgres):
    with OpenBao(tmp_path, config=AUDIT % audit_log) as server:
        postgres.attach(server, role="upgrade", default_ttl="1h", max_ttl="24h")
        before = set(postgres.roles("v-%"))
        yield server
    for role in set(postgres.roles("v-%")) - before:
        postgres.sql(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"', database="simba")


@pytest.fixture
def roles(postgres):
    """The roles that came with this test."""
    before = set(postgres.roles("v-%"))
    return lambda: set(postgres.roles("v-%")) - before


class Site:
    """An app with credentials of PostgreSQL, and one that a command notifies, which fails while `refuses` exists."""

    def __init__(self, server, tmp_path, memory, folder):
        self.agent = Sidecar(server.address, tmp_path, memory)
        self.agent.log_in_by_approle(server, POLICY)
        self.agent.template("db.txt.j2", CREDS)
        self.server, self.path = server, f"secret/data/testing/{folder}/app"
        self.notified, self.refuses = tmp_path / "notified", tmp_path / "refuses"
        (tmp_path / "app.txt.j2").write_text('{{ secret("FOLDER/app").word }}\n'.replace("FOLDER", folder))
        command = ["/bin/sh", "-c", f"test ! -e {self.refuses} && cat {memory}/worker/app.txt >> {self.notified}"]
        worker = {"directory": str(memory / "worker"), "files": [{"template": "app.txt.j2"}]}
        notify = {"command": command}
        self.file = memory / "worker" / "app.txt"
        self.agent.config["apps"]["worker"] = worker | {"refresh_interval": "200ms", "notify": notify}
        self.earlier = EarlierVersion("0.1.0", self.agent)
        self.earlier.config = {
            "vault": self.agent.config["vault"],
            "state": str(self.agent.state),
            "apps": {
                "web": {
                    "directory": str(self.agent.directory),
                    "refresh": "200ms",
                    "files": [{"template": "db.txt.j2"}],
                },
                "worker": worker | {"refresh": "200ms", "notify": notify},
            },
        }

    def write(self, word):
        self.server.ask("POST", self.path, {"data": {"word": word}})

    def leave_pending(self, word, count):
        """Publish a word of which the app could not be notified."""
        self.refuses.touch()
        self.write(word)
        eventually(lambda: self.file.read_text() == f"{word}\n", "the publication")
        assert len(lines_of(self.notified)) == count


@pytest.fixture
def site(server, tmp_path, memory, folder):
    site = Site(server, tmp_path, memory, folder)
    yield site
    site.agent.close()


@pytest.fixture
def clients(site, postgres):
    started = []

    def start():
        started.append(Clients(site.agent.directory / "db.txt", postgres))
        return started[0]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_an_upgrade_under_load_costs_no_login_no_lease_and_no_notification(site, clients, audit_log, roles, end):
    agent = site.agent
    site.write("one")
    site.earlier.start()
    until_lines(site.notified, 1)
    load = clients()
    first = (agent.directory / "db.txt").read_text()
    site.leave_pending("two", count=1)
    agent.stop(end)
    site.refuses.unlink()

    agent.start()
    until_lines(site.notified, 2)
    assert not list(agent.state.glob("*.new"))
    pass_by(1.0)
    site.write("three")
    eventually(lambda: "three" in lines_of(site.notified), "the third notification")
    lines = lines_of(site.notified)
    # The notification of an agent that was killed may arrive as well as that of the next one.
    assert (list(dict.fromkeys(lines)) if end is signal.SIGKILL else lines) == ["one", "two", "three"]
    assert (agent.directory / "db.txt").read_text() == first
    assert agent.status()["totals"]["leases_issued"] == 0
    counts = load.stop()
    assert (counts["failed"], counts["reasons"]) == (0, [])
    assert counts["logins"] > 20
    assert len(requests(audit_log, "auth/approle/login")) == 1
    assert len(requests(audit_log, "database/creds/upgrade")) == 1
    assert len(roles()) == 1


@pytest.mark.thorough
def test_a_downgrade_and_a_second_upgrade_cost_a_login_and_a_lease_but_no_notification(site, clients, audit_log, roles):
    agent = site.agent
    site.write("one")
    agent.start()
    until_lines(site.notified, 1)
    load = clients()
    site.leave_pending("two", count=1)
    agent.stop()
    site.refuses.unlink()

    site.earlier.start()
    assert until_lines(site.notified, 2) == ["one", "two"]
    # 0.1.0 reads no token and no lease of this version, and gets its own.
    assert len(requests(audit_log, "auth/approle/login")) == 2
    assert len(roles()) == 2
    second = (agent.directory / "db.txt").read_text()
    site.leave_pending("three", count=2)
    agent.stop()
    site.refuses.unlink()

    agent.start()
    assert until_lines(site.notified, 3) == ["one", "two", "three"]
    assert len(requests(audit_log, "auth/approle/login")) == 2
    # The file has the later one of the two leases, and stays as it is.
    assert agent.status()["totals"]["publications"] == 0
    assert (agent.directory / "db.txt").read_text() == second
    counts = load.stop()
    assert (counts["failed"], counts["reasons"]) == (0, [])
    assert len(requests(audit_log, "database/creds/upgrade")) == 2


def test_an_archive_of_0_1_0_is_verified_listed_and_restored(full, empty, make):
    backups = make(full)
    earlier = EarlierVersion("0.1.0", backups)
    earlier.config = backups.config
    earlier.run("backup", "save")
    [archive] = backups.found()
    assert "restored and equal" in backups.backup("verify", str(archive))
    backups.config["vault"]["address"] = empty.address
    output = backups.backup("restore", "latest", "--yes", "--force")
    assert "to be written again by you: database/config/main" in output
    assert without_pruned(contents(empty)) == without_pruned(contents(full))


def test_0_1_0_refuses_an_archive_of_this_version_by_its_format(full, make):
    backups = make(full)
    archive = backups.save()
    earlier = EarlierVersion("0.1.0", backups)
    earlier.config = backups.config
    said = earlier.run("backup", "verify", str(archive), code=65)
    assert "it has format 2, and this lessee knows 1; open it with the lessee that made it" in said
