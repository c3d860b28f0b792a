"""The commands that start programs which do not reload files on SIGHUP."""

import pytest

from lessee.ops.lint.policy.signals import issue_of_command


def issue(command, **environ):
    found = issue_of_command(command.split() if isinstance(command, str) else command, environ)
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
def test_programs_are_recognized_by_their_name_in_a_command(command, program):
    assert issue(command) == program


def test_the_environment_may_set_the_number_of_uvicorn_workers():
    assert issue("uvicorn app:app", WEB_CONCURRENCY="1") == "uvicorn"
    assert issue("uvicorn app:app --timeout-worker-healthcheck=60", WEB_CONCURRENCY="4") is None
    assert issue("uvicorn app:app --workers 1", WEB_CONCURRENCY="4") == "uvicorn"


@pytest.mark.parametrize(
    ("command", "environ"),
    [
        ("uvicorn app:app --workers 2", {}),
        ("uvicorn app:app --workers=${N}", {}),
        ("uvicorn app:app --workers", {}),
        ("uvicorn app:app", {"WEB_CONCURRENCY": "4"}),
    ],
)
def test_uvicorn_workers_that_start_slowly_are_a_warning(command, environ):
    found = issue_of_command(command.split(), environ)
    assert (found.program, found.always) == ("uvicorn", False)
    assert "--timeout-worker-healthcheck 60" in found.todo
    assert issue_of_command(command.split(), environ | {"UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "60"}) is None


def test_both_ways_to_start_celery_have_their_own_reason():
    script, module = issue_of_command(["celery"], {}), issue_of_command(["python", "-m", "celery"], {})
    assert "with its old environment" in script.why
    assert "cannot restart itself" in module.why
