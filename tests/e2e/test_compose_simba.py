"""Simba's stack on a real Engine: its credentials change under load, its parts fail, and no request does.

The API, the worker and the dashboard are stand-ins of Simba's own libraries; see compose/simba/README.md.
"""

import json
import re
import tempfile
import time
from pathlib import Path

import pytest

from e2e.compose import images
from e2e.simba import Stand
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

PATIENCE = 60
AWAY = 8
"""Seconds for which Vault is away: longer than what its clients wait for an answer."""
SLOW = 6
"""Seconds that a job takes: as long as a rotation, from the new file to the old login's end."""


@pytest.fixture(scope="module")
def stand(pytestconfig):
    made = images(pytestconfig)
    with tempfile.TemporaryDirectory(prefix="lessee-simba-") as folder:
        stand = Stand(made, folder)
        try:
            stand.make()
            yield stand
        finally:
            stand.remove()


@pytest.fixture(scope="module")
def simba(stand):
    with stand.up() as simba:
        eventually(lambda: simba.load()["answered"] > 20, "the clients", patience=PATIENCE)
        yield simba


@pytest.fixture(autouse=True)
def _no_request_fails(request):
    yield
    if "simba" in request.fixturenames:
        simba = request.getfixturevalue("simba")
        assert (simba.load()["failed"], simba.lines("load", "failed:")) == (0, [])


def test_the_fork_of_simba_has_its_two_files_and_rotates_as_well(stand):
    # The first of all, for both stacks have one name.
    with stand.up("fork.yaml") as fork:
        document = fork.ask("/api/v1/documents", {"content": "of the fork"})
        fork.rotate("postgres", "storage")
        assert fork.ask(f"/api/v1/documents/{document['id']}/content") == {"content": "of the fork"}
        login = fork.secret("database/postgres", "username")
        assert re.search(rf"^ +user: .?{login}", fork.run("api", "cat", "/app/config.yaml"), re.MULTILINE)
        assert login in fork.run("worker", "cat", "/app/.env")
        assert (fork.load()["failed"], fork.lines("load", "failed:")) == (0, [])


def test_a_job_that_a_rotation_of_its_database_overtakes_ends_well_and_no_request_fails(simba):
    before, count = simba.secret("database/postgres", "username"), simba.rotation("postgres")["rotation_count"]
    document = simba.ask(f"/api/v1/documents?seconds={SLOW}", {"content": "three short words"})
    path = f"/api/v1/documents/{document['id']}"
    eventually(lambda: simba.ask(path)["status"] == "parsing", "the job to begin", patience=PATIENCE)
    simba.rotate("postgres")
    after = simba.rotation("postgres")
    assert (after["rotation_count"], after["unconfirmed_consumers"]) == (count + 1, [])
    assert simba.secret("database/postgres", "username") != before
    eventually(lambda: simba.ask(path)["status"] == "ready", "the job to end", patience=PATIENCE)
    assert simba.ask(path)["words"] == 3
    # It was done once: Celery was given the time to end it, and was not killed in the middle.
    assert len(simba.lines("worker", f"done {document['id']}")) == 1
    eventually(lambda: set(sessions(simba)) == {simba.secret("database/postgres", "username")}, "the new login alone")
    assert simba.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename = 'documents'") == "simba_owner"


def test_new_keys_of_the_storage_read_what_the_old_ones_wrote_and_no_request_fails(simba):
    document = simba.ask("/api/v1/documents", {"content": "written before"})
    before = simba.secret("storage/minio", "access_key")
    simba.rotate("storage")
    assert simba.secret("storage/minio", "access_key") != before
    assert simba.rotation("storage")["unconfirmed_consumers"] == []
    assert simba.ask(f"/api/v1/documents/{document['id']}/content") == {"content": "written before"}
    after = simba.ask("/api/v1/documents", {"content": "written after"})
    ready = f"/api/v1/documents/{after['id']}"
    eventually(lambda: simba.ask(ready)["status"] == "ready", "the worker, with the new key", patience=PATIENCE)


def test_an_outage_of_vault_goes_unnoticed_and_later_writes_arrive(simba):
    answered = simba.load()["answered"]
    simba.docker("pause", simba.container("openbao"))
    try:
        time.sleep(AWAY)
        eventually(lambda: not simba.status()["vault"]["reachable"], "the agent to notice", patience=PATIENCE)
        assert simba.status()["ready"]
    finally:
        simba.docker("unpause", simba.container("openbao"))
    assert simba.load()["answered"] > answered
    eventually(lambda: simba.status()["fresh"], "the agent to be fresh", patience=PATIENCE)
    generation = simba.status()["apps"]["simba"]["generation"]
    simba.put("api-keys/openai", "api_key", "canary-written-afterwards")
    eventually(lambda: simba.status()["apps"]["simba"]["generation"] > generation, "the new key", patience=PATIENCE)
    assert "canary-written-afterwards" in simba.run("api", "cat", "/app/.env")


def test_the_death_of_the_sidecar_touches_neither_apps_nor_files(simba):
    eventually(lambda: settled(simba), "all earlier notifications", patience=PATIENCE)
    started = {name: simba.inspect(name)["State"]["StartedAt"] for name in ("api", "worker", "dashboard")}
    generations = {name: app["generation"] for name, app in simba.status()["apps"].items()}
    agent = simba.inspect("agent")["State"]["StartedAt"]
    simba.kill("/opt/lessee/bin/lessee")
    eventually(lambda: simba.inspect("agent")["State"]["StartedAt"] != agent, "the Engine", patience=PATIENCE)
    eventually(lambda: back(simba), "the agent to be back", patience=PATIENCE)
    assert {name: simba.inspect(name)["State"]["StartedAt"] for name in started} == started
    assert {name: app["generation"] for name, app in simba.status()["apps"].items()} == generations


def test_the_dashboard_asks_the_database_with_what_its_own_file_says_now(simba):
    said = simba.run("dashboard", "node", "-e", "fetch('http://127.0.0.1:3000/').then(a => a.text()).then(console.log)")
    assert json.loads(said)["documents"] > 0
    given = simba.run("dashboard", "cat", "/app/.env.production")
    assert simba.secret("database/postgres", "username") in given
    assert "MINIO" not in given


def test_no_secret_is_in_what_the_engine_compose_or_a_log_shows(simba):
    values = canaries(simba)
    assert len(values) > 12
    shown = {"config": simba.compose("config"), "logs": simba.compose("--profile", "load", "logs")}
    for name in simba.compose("ps", "--all", "--services").split():
        said = simba.inspect(name)
        shown[name] = json.dumps(said)
        shown[f"{name}'s files on the disk"] = written(said["GraphDriver"]["Data"]["UpperDir"])
    assert "consumers" in shown["logs"] or "published" in shown["logs"]
    found = {where: [name for name, value in values.items() if value in text] for where, text in shown.items()}
    assert {where: names for where, names in found.items() if names} == {}


def sessions(simba):
    """Whose there are in Simba's database."""
    asked = "SELECT usename FROM pg_stat_activity WHERE datname = 'simba' AND usename LIKE 'simba%'"
    return simba.sql(asked).split()


def settled(simba):
    """Whether no notification or readiness is pending."""
    apps = simba.status()["apps"].values()
    return not any(app["notify"]["pending"] or (app["readiness"] and app["readiness"]["pending"]) for app in apps)


def back(simba):
    try:
        status = simba.status()
    except (AssertionError, ValueError):
        return False
    return status["ready"] and status["vault"]["reachable"]


def written(folder):
    """What a container has written outside of volumes and tmpfs."""
    return "".join(
        path.read_text(errors="replace") for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink()
    )


def canaries(simba):
    """All that is secret in the stack, by where it is from."""
    found = {}
    paths = ["database/admin", "database/postgres", "database/redis", "database/qdrant", "storage/admin"]
    paths += ["storage/minio", "applications/simba"]
    paths += [f"api-keys/{name}" for name in ("openai", "mistral", "unstructured")]
    for path in paths:
        for key, value in simba.secret(path).items():
            if re.fullmatch("(.*_)?(password|api_key|secret_key|auth_secret)", key):
                found[f"{path}: {key}"] = value
    # The identities by which agent and rotator log in.
    for name in ("simba", "simba-worker", "simba-dashboard", "rotator"):
        found[name] = simba.run("agent", "cat", f"/run/identity/production/production-{name}/secret_id").strip()
    return found
