"""Simba's stack on a real Engine: no request fails while credentials rotate under load and services fail.

The API, the worker and the dashboard are stand-ins that use Simba's own libraries; see compose/simba/README.md.
"""

import json
import re
import time

import pytest

from e2e.simba import SimbaImages
from lessee.core.errors import AgentUnavailableError
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

OUTAGE = 8
"""Seconds for which Vault is unavailable: longer than its clients wait for a response."""
JOB_DURATION = 6
"""Seconds that a job takes: as long as a rotation from the new file to the revocation of the old login."""


@pytest.fixture(scope="module")
def simba_images(images, tmp_path_factory):
    return SimbaImages(images, tmp_path_factory.mktemp("simba"))


@pytest.fixture(scope="module")
def simba(simba_images):
    with simba_images.up() as simba:
        eventually(lambda: simba.load()["answered"] > 20, "the clients")
        yield simba


@pytest.fixture(autouse=True)
def _no_request_fails(request):
    yield
    if "simba" in request.fixturenames:
        simba = request.getfixturevalue("simba")
        assert (simba.load()["failed"], simba.lines("load", "failed:")) == (0, [])


@pytest.mark.thorough
def test_the_fork_of_simba_gets_its_two_files_and_survives_a_rotation(simba_images):
    with simba_images.up("fork.yaml", name="simba-fork") as fork:
        document = fork.request("/api/v1/documents", {"content": "of the fork"})
        fork.rotate("postgres", "storage")
        assert fork.request(f"/api/v1/documents/{document['id']}/content") == {"content": "of the fork"}
        login = fork.secret("database/postgres", "username")
        assert re.search(rf"^ +user: .?{login}", fork.run("api", "cat", "/app/config.yaml"), re.MULTILINE)
        assert login in fork.run("worker", "cat", "/app/.env")
        assert (fork.load()["failed"], fork.lines("load", "failed:")) == (0, [])


def test_a_job_during_a_rotation_of_its_database_succeeds_and_no_request_fails(simba):
    before, count = simba.secret("database/postgres", "username"), simba.rotation("postgres")["rotation_count"]
    document = simba.request(f"/api/v1/documents?seconds={JOB_DURATION}", {"content": "three short words"})
    path = f"/api/v1/documents/{document['id']}"
    eventually(lambda: simba.request(path)["status"] == "parsing", "the job to begin")
    simba.rotate("postgres")
    after = simba.rotation("postgres")
    assert (after["rotation_count"], after["unconfirmed_consumers"]) == (count + 1, [])
    assert simba.secret("database/postgres", "username") != before
    eventually(lambda: simba.request(path)["status"] == "ready", "the job to end")
    assert simba.request(path)["words"] == 3
    # The job ran once: the agent gave Celery time to finish it, and did not kill it.
    assert len(simba.lines("worker", f"done {document['id']}")) == 1
    eventually(
        lambda: set(sessions(simba)) == {simba.secret("database/postgres", "username")},
        "sessions of the new login only",
    )
    assert simba.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename = 'documents'") == "simba_owner"


def test_new_keys_of_the_storage_read_documents_of_the_old_keys_and_no_request_fails(simba):
    document = simba.request("/api/v1/documents", {"content": "written before"})
    before = simba.secret("storage/minio", "access_key")
    simba.rotate("storage")
    assert simba.secret("storage/minio", "access_key") != before
    assert simba.rotation("storage")["unconfirmed_consumers"] == []
    assert simba.request(f"/api/v1/documents/{document['id']}/content") == {"content": "written before"}
    after = simba.request("/api/v1/documents", {"content": "written after"})
    ready = f"/api/v1/documents/{after['id']}"
    eventually(lambda: simba.request(ready)["status"] == "ready", "a job of the worker with the new key")


def test_no_request_fails_in_an_outage_of_vault_and_later_writes_reach_the_app(simba):
    answered = simba.load()["answered"]
    simba.docker("pause", simba.container("openbao"))
    try:
        time.sleep(OUTAGE)
        eventually(lambda: not simba.status()["vault"]["reachable"], "the agent to report the outage")
        assert simba.status()["ready"]
    finally:
        simba.docker("unpause", simba.container("openbao"))
    assert simba.load()["answered"] > answered
    eventually(lambda: simba.status()["fresh"], "the agent to be fresh")
    before, worker = generations(simba), started_at(simba, "worker")
    simba.put("api-keys/openai", "api_key", "canary-written-after-the-outage")
    # Each has an identity of its own, so they do not get it at the same moment.
    readers = ("simba", "simba-worker")
    eventually(lambda: all(generations(simba)[name] > before[name] for name in readers), "the new key")
    # The agent stops the worker, and the Engine starts it some time later.
    eventually(lambda: started_at(simba, "worker") != worker, "a worker with the new key")
    assert "canary-written-after-the-outage" in simba.run("api", "cat", "/app/.env")


def test_a_killed_sidecar_affects_neither_apps_nor_files(simba):
    eventually(lambda: is_settled(simba), "all earlier notifications")
    services = {name: started_at(simba, name) for name in ("api", "worker", "dashboard")}
    before, agent = generations(simba), started_at(simba, "agent")
    simba.kill("/opt/lessee/bin/lessee")
    eventually(lambda: started_at(simba, "agent") != agent, "a restart by the Engine")
    eventually(lambda: is_ready(simba), "a ready agent")
    assert {name: started_at(simba, name) for name in services} == services
    assert generations(simba) == before


def test_the_dashboard_queries_the_database_with_the_current_login_of_its_file(simba):
    body = simba.run("dashboard", "node", "-e", "fetch('http://127.0.0.1:3000/').then(a => a.text()).then(console.log)")
    assert json.loads(body)["documents"] > 0
    file = simba.run("dashboard", "cat", "/app/.env.production")
    assert simba.secret("database/postgres", "username") in file
    assert "MINIO" not in file


def test_no_secret_is_in_the_output_of_the_engine_or_compose_nor_in_a_log(simba, engine):
    values = canaries(simba)
    assert len(values) > 12
    outputs = {"config": simba.compose("config"), "logs": simba.compose("--profile", "load", "logs")}
    for name in simba.compose("ps", "--all", "--services").split():
        container = simba.inspect(name)
        outputs[name] = json.dumps(container)
        outputs[f"{name}'s files on disk"] = written_files(engine.path(container["GraphDriver"]["Data"]["UpperDir"]))
    assert "consumers" in outputs["logs"] or "published" in outputs["logs"]
    found = {where: [name for name, value in values.items() if value in text] for where, text in outputs.items()}
    assert {where: names for where, names in found.items() if names} == {}


def sessions(simba):
    """The users with a session in Simba's database."""
    statement = "SELECT usename FROM pg_stat_activity WHERE datname = 'simba' AND usename LIKE 'simba%'"
    return simba.sql(statement).split()


def started_at(simba, service):
    return simba.inspect(service)["State"]["StartedAt"]


def generations(simba):
    return {name: app["generation"] for name, app in simba.status()["apps"].items()}


def is_settled(simba):
    """Whether no notification or readiness is pending."""
    apps = simba.status()["apps"].values()
    return not any(app["notify"]["pending"] or (app["readiness"] and app["readiness"]["pending"]) for app in apps)


def is_ready(simba):
    try:
        status = simba.status()
    except AgentUnavailableError:
        return False
    return status["ready"] and status["vault"]["reachable"]


def written_files(folder):
    """The contents of all files that a container has written outside volumes and tmpfs."""
    return "".join(
        path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    )


def canaries(simba):
    """All secret values of the stack, by their source."""
    values = {}
    paths = ["database/admin", "database/postgres", "database/redis", "database/qdrant", "storage/admin"]
    paths += ["storage/minio", "applications/simba"]
    paths += [f"api-keys/{name}" for name in ("openai", "mistral", "unstructured")]
    for path in paths:
        for key, value in simba.secret(path).items():
            if re.fullmatch("(.*_)?(password|api_key|secret_key|auth_secret)", key):
                values[f"{path}: {key}"] = value
    # The secret_ids with which agent and rotator log in.
    for name in ("simba", "simba-worker", "simba-dashboard", "rotator"):
        values[name] = simba.run("agent", "cat", f"/run/identity/production/production-{name}/secret_id").strip()
    return values
