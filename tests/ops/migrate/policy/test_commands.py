"""The notifications that replace commands."""

import subprocess

import pytest
import yaml

from lessee.config.yaml_writer import write
from lessee.ops.migrate.policy.commands import Command, notification, run_all


def notify(*words, timeout="30s"):
    return yaml.safe_load(write(notification(Command(words, timeout))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kill -HUP $(cat /run/x.pid)", {"pid_file": "/run/x.pid", "action": "SIGHUP"}),
        ("kill -s HUP `cat /run/x.pid`", {"pid_file": "/run/x.pid", "action": "SIGHUP"}),
        ('/bin/kill -1 "$(cat /run/x.pid)" || true', {"pid_file": "/run/x.pid", "action": "SIGHUP"}),
        ("kill $(< /run/x.pid) 2>/dev/null || :", {"pid_file": "/run/x.pid", "action": "SIGTERM"}),
        ("kill -SIGUSR1 $(pidof nginx)", {"process": {"name": "nginx"}, "action": "SIGUSR1"}),
        ("kill -HUP $(pgrep -o gunicorn)", {"process": {"name": "gunicorn"}, "action": "SIGHUP"}),
        ("kill -HUP $(pgrep -f app.py)", {"process": {"cmdline": "app.py"}, "action": "SIGHUP"}),
        ("pkill -HUP nginx", {"process": {"name": "nginx"}, "action": "SIGHUP"}),
        ("pkill -x --signal USR2 nginx >/dev/null 2>&1;", {"process": {"name": "nginx"}, "action": "SIGUSR2"}),
        ("pkill nginx", {"process": {"name": "nginx"}, "action": "SIGTERM"}),
        ("pkill -HUP -f 'celery worker'", {"process": {"cmdline": "celery worker"}, "action": "SIGHUP"}),
        ("pkill -f -HUP celery", {"process": {"cmdline": "celery"}, "action": "SIGHUP"}),
        ("killall -s HUP haproxy", {"process": {"name": "haproxy"}, "action": "SIGHUP"}),
        ("/usr/sbin/nginx -s reload", {"process": {"name": "nginx"}, "action": "SIGHUP"}),
        ("nginx -s reopen", {"process": {"name": "nginx"}, "action": "SIGUSR1"}),
        ("docker kill -s HUP web", {"container": {"name": "web"}, "action": "SIGHUP"}),
        ("docker kill --signal=HUP web", {"container": {"name": "web"}, "action": "SIGHUP"}),
        ("docker kill web", {"container": {"name": "web"}, "action": "SIGKILL"}),
        ("docker restart web", {"container": {"name": "web"}, "action": "restart"}),
        ("docker compose kill -s HUP web", {"container": {"service": "web"}, "action": "SIGHUP"}),
        ("docker-compose restart web", {"container": {"service": "web"}, "action": "restart"}),
        ("curl -fsS -X POST http://localhost:9090/-/reload", {"http": "http://localhost:9090/-/reload"}),
        ("curl http://x/y --request PUT", {"http": {"url": "http://x/y", "method": "PUT"}}),
        ("curl -s http://x/y", {"http": {"url": "http://x/y", "method": "GET"}}),
        ("systemctl reload nginx", {"command": ["systemctl", "reload", "nginx"], "timeout": "30s"}),
        ("nginx -t && nginx -s reload", {"command": ["sh", "-c", "nginx -t && nginx -s reload"], "timeout": "30s"}),
        ("kill -NONSENSE $(cat /x)", {"command": ["sh", "-c", "kill -NONSENSE $(cat /x)"], "timeout": "30s"}),
        ("pkill -HUP '^nginx$'", {"command": ["sh", "-c", "pkill -HUP '^nginx$'"], "timeout": "30s"}),
        ("echo ${A} > /x", {"command": ["sh", "-c", "echo $${A} > /x"], "timeout": "30s"}),
    ],
)
def test_a_command_becomes_the_equivalent_notification(text, expected):
    assert notify(text) == expected
    assert notify("sh", "-c", text) == expected


def test_a_target_is_written_on_one_line():
    written = {
        words: write(notification(Command((words,), "30s")))
        for words in ("pkill -HUP nginx", "pkill -HUP -f app.py", "nginx -s reload", "docker restart web")
    }
    assert written == {
        "pkill -HUP nginx": "process: {name: nginx}\naction: SIGHUP\n",
        "pkill -HUP -f app.py": "process: {cmdline: app.py}\naction: SIGHUP\n",
        "nginx -s reload": "process: {name: nginx}\naction: SIGHUP\n",
        "docker restart web": "container: {name: web}\naction: restart\n",
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pkill", "-HUP", "nginx"], {"process": {"name": "nginx"}, "action": "SIGHUP"}),
        (["/bin/sh", "-c", "kill -HUP $(cat /x)"], {"pid_file": "/x", "action": "SIGHUP"}),
        (["reload"], {"command": ["reload"], "timeout": "5s"}),
        (["reload", "a b", "$x"], {"command": ["reload", "a b", "$x"], "timeout": "5s"}),
        (["sh", "-c", "a b"], {"command": ["a", "b"], "timeout": "5s"}),
    ],
)
def test_a_command_with_words_runs_without_a_shell(words, expected):
    assert notify(*words, timeout="5s") == expected


def test_several_commands_become_one_that_runs_each_of_them():
    both = run_all([Command(("kill -HUP $(cat /x)",)), Command(("b", "c d"), "5s")])
    script = "failed=0; kill -HUP $(cat /x) || failed=$?; b 'c d' || failed=$?; exit $failed"
    assert both == Command(("sh", "-c", script), "35s")


@pytest.mark.parametrize(
    ("texts", "out", "code"),
    [
        (["echo a", "false a", "echo b"], "a\nb\n", 1),
        (["exit 3", "echo b # c", "cd / ; pwd", "pwd | grep -x /nowhere || echo c"], "b\n/\nc\n", 3),
        (["(exit 2)", "echo a\necho b", "sh -c 'exit 4'"], "a\nb\n", 4),
        (["export A=b ", "echo a$A", "echo c \\"], "a\nc \\\n", 0),
        (["set -e; false; echo a", "echo b"], "b\n", 1),
    ],
)
def test_a_command_that_fails_stops_none_of_the_others_and_is_not_hidden_by_them(texts, out, code):
    done = subprocess.run(
        run_all([Command((text,)) for text in texts]).words, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == (out, code)


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["/usr/bin/web", "-p", "1"], "web"),
        (["web --port 1"], "web"),
        (["sh", "-c", "exec A=b /srv/web --port 1 && true"], "web"),
        (["sh", "-c", "echo 'a"], "echo"),
        (["/sbin/tini", "-s", "--", "web"], "web"),
        (["env", "A=b", "web"], "web"),
        (["env"], "env"),
        (["python3", "-u", "/srv/worker.py"], "worker"),
        (["python3.12", "-m", "web.server"], "web"),
        (["python3", "-c", "print(1)"], "python3"),
        (["python3"], "python3"),
        (["python3", "."], "python3"),
        (["node", "dist/server.js"], "server"),
        (["java", "-Xmx1g", "-jar", "/app/shop.jar"], "shop"),
    ],
)
def test_a_program_is_named_after_what_it_runs(words, program):
    assert Command(tuple(words)).program == program
