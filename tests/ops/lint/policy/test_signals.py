"""Which commands start what takes no new file at SIGHUP."""

import pytest

from lessee.ops.lint.policy.signals import by_command


def deaf(command, **environ):
    found = by_command(command.split() if isinstance(command, str) else command, environ)
    return found and found.program


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("uvicorn app:app", "uvicorn"),
        ("/app/.venv/bin/python -m uvicorn simba.api.app:app --host 0.0.0.0", "uvicorn"),
        ("uv run uvicorn app:app --workers 1", "uvicorn"),
        ("uvicorn app:app --workers=1", "uvicorn"),
        ("celery -A app worker", "celery"),
        ("uv run celery -A app worker", "celery"),
        ("python -m celery -A app worker", "celery"),
        ("node server.js", "server.js"),
        ("docker-entrypoint.sh node /app/server.js", "server.js"),
        ("node index.js", "node"),
        ("npx next start", "next"),
        ("memory server --http", "mcp-memory-service"),
        ("java -jar app.jar", "java"),
        (["sh", "-c", "until [ -e x ]; do sleep 1; done; exec uvicorn app:app"], "uvicorn"),
        (["/bin/bash", "-c", "(cd /app && 'celery' -A app worker)"], "celery"),
        (["python3", "-c", "import celery"], None),
        ("uvicorn app:app --workers 2 --timeout-worker-healthcheck 60", None),
        ("uvicorn app:app --reload", None),
        ("gunicorn -k uvicorn.workers.UvicornWorker app:app", None),
        ("nginx -c /celery", None),
        ("vite", None),
        ("memory", None),
        ("python app.py", None),
        ("", None),
    ],
)
def test_what_a_command_starts_is_known_by_its_name(command, program):
    assert deaf(command) == program


def test_the_number_of_uvicorns_workers_may_come_from_the_environment():
    assert deaf("uvicorn app:app", WEB_CONCURRENCY="1") == "uvicorn"
    assert deaf("uvicorn app:app --timeout-worker-healthcheck=60", WEB_CONCURRENCY="4") is None
    assert deaf("uvicorn app:app --workers 1", WEB_CONCURRENCY="4") == "uvicorn"


@pytest.mark.parametrize(
    ("command", "environ"),
    [
        ("uvicorn app:app --workers 2", {}),
        ("uvicorn app:app --workers=${N}", {}),
        ("uvicorn app:app --workers", {}),
        ("uvicorn app:app", {"WEB_CONCURRENCY": "4"}),
    ],
)
def test_of_uvicorns_workers_those_that_start_slowly_are_given_up(command, environ):
    found = by_command(command.split(), environ)
    assert (found.program, found.always) == ("uvicorn", False)
    assert "--timeout-worker-healthcheck 60" in found.todo
    assert by_command(command.split(), environ | {"UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "60"}) is None


def test_celery_says_why_in_both_of_its_ways():
    script, module = by_command(["celery"], {}), by_command(["python", "-m", "celery"], {})
    assert "environment that it has" in script.why
    assert "cannot start itself anew" in module.why
