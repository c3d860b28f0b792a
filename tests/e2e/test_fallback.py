"""A cold start while Vault is away: who opted in gets files, is known to be degraded, and then gets Vault's own."""

import json
import shutil
import stat
import subprocess
import sys
import time
from datetime import datetime

import msgspec
import pytest

from lessee.core.last_known_good import SnapshotHeader
from lessee.host.encrypted_file import decrypt, encrypt, read
from lessee.host.openbao import OpenBao, free_port
from support.programs.sidecar import Sidecar, eventually, pass_by
from support.servers.fault_proxy import Fault, Status

CANARY = "canary-5c1e'$x"
SPARE = "spare-9d2f'$y"
APP = 'DB_PASSWORD={{ secret("db").password }}\n'
QUOTED = {CANARY: "'canary-5c1e\\'$x'", SPARE: "'spare-9d2f\\'$y'"}
GRACE = 2.0


def file_of(value):
    return f"DB_PASSWORD={QUOTED.get(value, repr(value))}\n"


@pytest.fixture
def sidecar(server, proxy, tmp_path, memory):
    """One app of one secret, with Vault away from the start."""
    server.put("testing/db", password=CANARY)
    agent = Sidecar(proxy.address, tmp_path, memory)
    agent.template("app.env.j2", APP)
    agent.web["fallback"] = {"env": ["DB_PASSWORD"]}
    agent.environ["DB_PASSWORD"] = SPARE
    proxy.fault = Fault.REFUSE
    yield agent
    agent.close()


@pytest.fixture
def lost_agent(sidecar, proxy, tmp_path):
    """The same with a snapshot: its app was published once, and everything but the disk is lost."""
    del sidecar.environ["DB_PASSWORD"]
    sidecar.file = tmp_path / "snapshots" / "web"
    sidecar.environ["LESSEE_HOST_KEY_FILE"] = str(tmp_path / "host.key")
    sidecar.web["fallback"] = {"last_known_good": str(sidecar.file)}
    proxy.clear()
    sidecar.start()
    eventually(sidecar.file.exists, "the snapshot")
    sidecar.stop()
    sidecar.close()
    proxy.fault = Fault.REFUSE
    lose_memory(sidecar)
    sidecar.log.unlink()
    return sidecar


def lose_memory(sidecar):
    """As at a boot: nothing is left of what lay on tmpfs."""
    for folder in (sidecar.state, sidecar.directory):
        shutil.rmtree(folder)


def marker(sidecar):
    return sidecar.directory / ".degraded"


def is_degraded(sidecar, by="env"):
    """As everybody can see who looks."""
    status = sidecar.until(lambda status: status["apps"]["web"]["degraded"] == by)
    app = status["apps"]["web"]
    assert app["degraded_since"] == app["published_at"]
    assert (status["ready"], status["fresh"]) == (True, False)
    assert any(line.startswith("web is degraded: its files come from") for line in status["problems"])
    assert json.loads(marker(sidecar).read_text())["from"] == by
    assert sidecar.get("/readyz")[0] == 200
    assert sidecar.get("/readyz?fresh")[0] == 503
    assert 'lessee_app_degraded{app="web"} 1.0' in sidecar.get("/metrics")[1]
    assert f"DEGRADED ({by})" in sidecar.command("status").stdout
    return True


def is_as_vault_has_it(sidecar, value=CANARY):
    sidecar.until_file("app.env", file_of(value))
    sidecar.until(lambda s: s["fresh"] and not s["problems"] and s["apps"]["web"]["degraded"] is None)
    assert not marker(sidecar).exists()
    assert 'lessee_app_degraded{app="web"} 0.0' in sidecar.get("/metrics")[1]
    return True


def stays_away(sidecar, reason=None):
    """Nothing is published, however long it takes."""
    sidecar.start(wait=False)
    if reason is not None:
        sidecar.until(lambda s: any(f"web has no fallback: {reason}" in line for line in s["problems"]))
    else:
        sidecar.until(lambda s: s["problems"])
        pass_by(7.5)
    status = sidecar.status()
    assert (status["ready"], status["apps"]["web"]["state"]) == (False, "waiting")
    assert not (sidecar.directory / "app.env").exists()
    assert not marker(sidecar).exists()
    return [event for event in sidecar.events() if event["event"] == "fallback published"] == []


def comes_to_nothing_in(text, *values):
    assert not [value for value in values if value in text]


def test_a_cold_start_without_vault_publishes_the_fallback_and_later_vaults_files(tmp_path, memory, app):
    port = free_port()
    sidecar = Sidecar(f"http://127.0.0.1:{port}", tmp_path, memory)
    sidecar.template("app.env.j2", APP)
    name = f"fb{port}"
    sidecar.web.update({"fallback": {"env": ["DB_PASSWORD"]}, "notify": {"process": {"name": name}}})
    sidecar.environ["DB_PASSWORD"] = SPARE
    try:
        sidecar.start()
        one = app(name, sidecar.directory / "app.env")
        assert QUOTED[SPARE] in one.first
        assert is_degraded(sidecar)
        at = {}
        for event in sidecar.events():
            at.setdefault(event["event"], datetime.fromisoformat(event["time"]).timestamp())
        assert at["fallback published"] - at["agent starting"] > GRACE
        assert at["fallback published"] - at["vault unavailable"] < 10.0
        # The app was started during the publication, and may have been notified of it.
        sidecar.until(lambda s: not s["apps"]["web"]["notify"]["pending"])
        with OpenBao(tmp_path, port=port) as server:
            server.put("testing/db", password=CANARY)
            eventually(lambda: QUOTED[CANARY] in one.hears(), "Vault's value")
            assert is_as_vault_has_it(sidecar)
        text = sidecar.log.read_text()
        comes_to_nothing_in(text, CANARY, SPARE)
        assert '"fallback published"' in text
        assert '"fallback replaced"' in text
    finally:
        sidecar.close()


def test_the_marker_exists_before_the_fallback_files_and_until_they_are_replaced(sidecar, proxy):
    sidecar.start(wait=False)
    file = sidecar.directory / "app.env"
    while not file.exists():
        pass
    assert marker(sidecar).exists()
    assert stat.S_IMODE(marker(sidecar).stat().st_mode) == 0o444
    proxy.clear()
    while marker(sidecar).exists():
        pass
    assert file.read_text() == file_of(CANARY)


def test_a_fallback_with_vaults_values_causes_no_second_notification(sidecar, proxy):
    sidecar.environ["DB_PASSWORD"] = CANARY
    notified = sidecar.disk / "notified"
    sidecar.web["notify"] = {"command": ["sh", "-c", f"echo notified >> {notified}"]}
    sidecar.start()
    assert is_degraded(sidecar)
    eventually(notified.exists, "the notification")
    before = (sidecar.directory / "..data").readlink()
    proxy.clear()
    assert is_as_vault_has_it(sidecar)
    pass_by(1.0)
    assert (sidecar.directory / "..data").readlink() == before
    assert notified.read_text() == "notified\n"


def test_a_fallback_from_variables_supports_every_format(sidecar):
    sidecar.template("app.env.j2", APP)
    sidecar.template("app.json.j2", '{"hosts": [{{ secret("db").host }}], "password": {{ secret("db").password }}}')
    sidecar.web["fallback"] = {"env": {"db": {"password": "DB_PASSWORD", "host": "DB_HOST"}}}
    sidecar.environ["DB_HOST"] = "spare"
    sidecar.start()
    assert is_degraded(sidecar)
    found = json.loads((sidecar.directory / "app.json").read_text())
    assert found == {"hosts": ["spare"], "password": SPARE}
    assert (sidecar.directory / "app.env").read_text() == file_of(SPARE)


def test_an_app_without_fallback_waits_for_vault(sidecar):
    del sidecar.web["fallback"]
    assert stays_away(sidecar)


def test_an_unset_variable_is_logged_and_the_app_waits_for_vault(sidecar, proxy):
    del sidecar.environ["DB_PASSWORD"]
    assert stays_away(sidecar, "apps.web.fallback: the agent's environment has no DB_PASSWORD")
    [said] = [event for event in sidecar.events() if event["event"] == "fallback variables not set"]
    assert (said["app"], said["names"]) == ("web", "DB_PASSWORD")
    proxy.clear()
    assert is_as_vault_has_it(sidecar)


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "missing"])
def test_a_fallback_never_hides_a_denied_or_missing_secret(sidecar, proxy, refused):
    proxy.clear()
    if refused:
        proxy.on_path("secret/data/testing/db", Status(403))
    else:
        sidecar.template("app.env.j2", APP.replace('"db"', '"nowhere"'))
    sidecar.start(wait=False)
    sidecar.until(lambda s: any(line.startswith("secret/testing/") for line in s["problems"]))
    proxy.fault = Fault.REFUSE
    pass_by(9.0)
    status = sidecar.status()
    assert not status["vault"]["reachable"]
    assert (status["ready"], status["apps"]["web"]["degraded"]) == (False, None)


def test_a_fallback_never_hides_a_denied_login(server, sidecar, proxy):
    proxy.clear()
    sidecar.log_in_by_approle(server, 'path "secret/*" { capabilities = ["read", "list"] }')
    (sidecar.disk / "secret_id").write_text("wrong")
    assert stays_away(sidecar)
    assert any("login failed" in line for line in sidecar.status()["problems"])


def test_published_files_remain_after_a_restart_without_vault(sidecar, proxy):
    proxy.clear()
    sidecar.start()
    sidecar.stop()
    proxy.fault = Fault.REFUSE
    sidecar.start()
    pass_by(7.5)
    assert (sidecar.directory / "app.env").read_text() == file_of(CANARY)
    status = sidecar.status()
    assert (status["ready"], status["fresh"], status["apps"]["web"]["degraded"]) == (True, False, None)


def test_a_killed_agent_knows_after_its_restart_that_files_are_from_a_fallback(sidecar, proxy):
    sidecar.start()
    sidecar.process.kill()
    sidecar.process.wait()
    marker(sidecar).unlink()
    sidecar.start()
    assert sidecar.status()["apps"]["web"]["degraded"] == "env"
    assert is_degraded(sidecar)
    sidecar.process.kill()
    sidecar.process.wait()
    proxy.clear()
    sidecar.start()
    assert is_as_vault_has_it(sidecar)


def test_the_marker_of_a_killed_agent_is_removed_at_the_next_start(sidecar, proxy):
    proxy.clear()
    sidecar.start()
    sidecar.process.kill()
    sidecar.process.wait()
    marker(sidecar).write_text("left")
    sidecar.start()
    assert is_as_vault_has_it(sidecar)


@pytest.mark.parametrize("fault", [Fault.HANG, Status(503)], ids=["hanging", "sealed"])
def test_a_server_that_hangs_or_is_sealed_is_unavailable_too(sidecar, proxy, fault):
    proxy.fault = fault
    sidecar.start(wait=False)
    eventually((sidecar.directory / "app.env").exists, "the fallback")
    assert is_degraded(sidecar)


def test_started_programs_do_not_inherit_the_fallback_variables(sidecar):
    said = sidecar.disk / "said"
    sidecar.web["check"] = ["sh", "-c", f"env > {said}; grep -q spare {{directory}}/app.env"]
    sidecar.start()
    assert is_degraded(sidecar)
    assert "HOME=" in said.read_text()
    comes_to_nothing_in(said.read_text(), SPARE, "DB_PASSWORD")


# exec and render.


def execute(sidecar, *command, options=(), env=None):
    sidecar.write_config()
    return subprocess.run(
        [sys.executable, "-m", "lessee", "exec", "--app", "web", *options, "--", *command],
        cwd=sidecar.disk,
        env=sidecar.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environ_of(sidecar):
    (sidecar.disk / "environ.j2").write_text('PGPASSWORD={{ secret("db").password }}\nMODE=rendered\n')
    sidecar.web["env_template"] = "environ.j2"
    sidecar.web["fallback"] = {"env": ["DB_PASSWORD", "PGPASSWORD"]}
    sidecar.environ["PGPASSWORD"] = f"{SPARE}-pg"


SHOWS = 'echo "$PGPASSWORD $MODE ${DB_PASSWORD-none}"; cat "$0"'


def test_a_child_starts_with_the_rendered_fallback_and_without_its_variables(sidecar):
    environ_of(sidecar)
    for _ in range(2):  # The second finds files that are known to come from a fallback, and no environment.
        done = execute(sidecar, "sh", "-c", SHOWS, str(sidecar.directory / "app.env"))
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{SPARE}-pg rendered none\n{file_of(SPARE)}"
        comes_to_nothing_in(done.stderr, SPARE)


def test_a_child_started_with_the_fallback_is_restarted_with_vaults_secrets(sidecar, proxy):
    environ_of(sidecar)
    sidecar.web["notify"] = {"child": True, "action": "restart"}
    said = sidecar.disk / "said"
    sidecar.write_config()
    with sidecar.log.open("ab") as log:
        words = [sys.executable, "-m", "lessee", "exec", "--app", "web", "--", "sh", "-c"]
        script = f'echo "$PGPASSWORD" >> {said}; exec sleep 60'
        sidecar.process = subprocess.Popen([*words, script], cwd=sidecar.disk, env=sidecar.environ, stderr=log)
    eventually(said.exists, "the child")
    proxy.clear()
    eventually(lambda: said.read_text() == f"{SPARE}-pg\n{CANARY}\n", "the new child")
    assert is_as_vault_has_it(sidecar)
    assert sidecar.stop() == 143


def test_a_timeout_shorter_than_the_delay_is_an_error(sidecar):
    assert execute(sidecar, "true", options=["--timeout", "1s"]).returncode == 69


def test_one_shot_commands_use_no_fallback(sidecar):
    sidecar.write_config()
    words = [sys.executable, "-m", "lessee"]
    commands = {
        "render": [*words, "render", "--timeout", "8s"],
        "build": [*words, "render", "--timeout", "8s", "--output", "out"],
        "diff": [*words, "render", "--timeout", "8s", "--diff"],
        "exec": [*words, "exec", "--config", "once.yaml", "--app", "web", "--once", "--timeout", "8s", "--", "true"],
    }
    text = (sidecar.disk / "lessee.yaml").read_text().replace(str(sidecar.memory), f"{sidecar.memory}/once")
    (sidecar.disk / "once.yaml").write_text(text)
    started = {
        name: subprocess.Popen(
            command, cwd=sidecar.disk, env=sidecar.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name, command in commands.items()
    }
    for name, process in started.items():
        said, _ = process.communicate(timeout=60)
        assert (process.returncode, said) == (69, ""), name
    assert not (sidecar.disk / "out" / "web" / "app.env").exists()
    assert not (sidecar.directory / "app.env").exists()
    assert not (sidecar.memory / "once" / "web" / "app.env").exists()


# The last good.


def test_a_snapshot_restores_lost_files(lost_agent, proxy):
    assert stat.S_IMODE(lost_agent.file.stat().st_mode) == 0o600
    assert stat.S_IMODE((lost_agent.disk / "host.key").stat().st_mode) == 0o600
    content = lost_agent.file.read_bytes()
    assert CANARY.encode() not in content
    assert b"password" not in content
    lost_agent.start()
    assert (lost_agent.directory / "app.env").read_text() == file_of(CANARY)
    assert is_degraded(lost_agent, "last_known_good")
    assert lost_agent.file.read_bytes() == content, "what was rendered from a fallback is not saved"
    proxy.clear()
    assert is_as_vault_has_it(lost_agent)
    eventually(lambda: lost_agent.file.read_bytes() != content, "what is good now")
    comes_to_nothing_in(lost_agent.log.read_text(), CANARY)


def test_a_snapshot_supports_changed_templates_that_need_no_other_secrets(lost_agent):
    lost_agent.template("app.env.j2", 'NEW={{ secret("db").password }}\n')
    lost_agent.start()
    assert (lost_agent.directory / "app.env").read_text() == f"NEW={QUOTED[CANARY]}\n"
    lost_agent.stop()
    lose_memory(lost_agent)
    lost_agent.log.unlink()
    lost_agent.template("app.env.j2", 'NEW={{ secret("other").password }}\n')
    assert stays_away(
        lost_agent, f"{lost_agent.file}: the templates read secrets that are not in the snapshot: secret/testing/other"
    )


def test_a_change_in_vault_is_saved_in_the_snapshot(lost_agent, server, proxy):
    proxy.clear()
    lost_agent.start()
    before = lost_agent.file.read_bytes()
    server.put("testing/db", password="third")
    eventually(lambda: lost_agent.file.read_bytes() != before, "the change")
    lost_agent.until_file("app.env", file_of("third"))
    pass_by(0.5)
    lost_agent.stop()
    lose_memory(lost_agent)
    proxy.fault = Fault.REFUSE
    lost_agent.start()
    assert (lost_agent.directory / "app.env").read_text() == file_of("third")


def test_an_invalid_snapshot_is_rejected_and_the_app_waits_for_vault(lost_agent, proxy, memory):
    """Each by an app of its own, next to one whose snapshot is valid."""
    key, hour_ago = lost_agent.disk / "host.key", time.time() - 3600
    content = decrypt(read(lost_agent.file), key)
    contents = {
        "foreign": (lambda file: shutil.copy(lost_agent.file, file), "the snapshot is of app web in testing"),
        "elsewhere": (lambda file: encrypt(file, label("elsewhere", "production"), content, key), "in production"),
        "aged": (
            lambda file: encrypt(file, label("aged", "testing", hour_ago), content, key),
            "the snapshot is 1 hours old",
        ),
        "garbled": (lambda file: file.write_text("no such thing"), "not a file that lessee encrypted"),
        "absent": (lambda _: None, "no snapshot exists yet"),
    }
    lost_agent.config["apps"] = {"web": lost_agent.web}
    for name, (make, _) in contents.items():
        file = lost_agent.file.with_name(name)
        make(file)
        if file.exists():
            file.chmod(0o600)
        fallback = {"last_known_good": str(file), "max_age": "30m"}
        lost_agent.config["apps"][name] = lost_agent.web | {"directory": str(memory / name), "fallback": fallback}
    lost_agent.start(wait=False)

    def are_all_reported(status):
        return all(
            any(
                line.startswith(f"{name} has no fallback: {lost_agent.file.with_name(name)}: ") and why in line
                for line in status["problems"]
            )
            for name, (_, why) in contents.items()
        )

    status = lost_agent.until(lambda s: are_all_reported(s) and s["apps"]["web"]["degraded"] == "last_known_good")
    assert not status["ready"]
    assert not [name for name in contents if (memory / name / "app.env").exists()]
    assert [name for name in contents if status["apps"][name]["state"] != "waiting"] == []
    proxy.clear()
    lost_agent.until(lambda s: s["ready"] and s["fresh"] and len(s["problems"]) == 1)
    [line] = lost_agent.status()["problems"]
    assert "garbled: its last-known-good snapshot is not saved" in line
    assert lost_agent.file.with_name("garbled").read_text() == "no such thing", (
        "what is not lessee's is not written over"
    )


def test_a_modified_snapshot_is_rejected(lost_agent):
    content = bytearray(lost_agent.file.read_bytes())
    content[-1] ^= 1
    lost_agent.file.write_bytes(content)
    assert stays_away(
        lost_agent, f"{lost_agent.file}: the file was changed or truncated, or encrypted with another key"
    )


def label(app, environment, kept_at=None):
    return msgspec.json.encode(SnapshotHeader(app, environment, kept_at or time.time()))


def test_a_snapshot_that_cannot_be_written_is_only_a_problem(sidecar, proxy, tmp_path):
    proxy.clear()
    sidecar.environ["LESSEE_HOST_KEY_FILE"] = str(tmp_path / "no" / "such" / "key")
    sidecar.web["fallback"] = {"last_known_good": str(tmp_path / "snapshots")}
    sidecar.start()
    sidecar.until(lambda s: any("last-known-good snapshot is not saved" in line for line in s["problems"]))
    assert (sidecar.directory / "app.env").read_text() == file_of(CANARY)
    sidecar.stop()
    sidecar.environ["LESSEE_HOST_KEY_FILE"] = str(tmp_path / "key")
    sidecar.start()
    sidecar.until(lambda s: any("the file is in the same directory as its key" in line for line in s["problems"]))


# check.


def findings(sidecar, **more):
    sidecar.write_config()
    done = sidecar.command("check", "--format", "json", **more)
    return done.returncode, {(one["rule"], one["level"]) for one in json.loads(done.stdout)}


LEASED = 'A={{ dynamic("database/creds/x").password }}'


@pytest.mark.parametrize(
    ("fallback", "template", "code", "rule"),
    [
        ({"env": ["DB_PASSWORD"]}, APP, 0, None),
        ({"env": ["DB_PASSWORT"]}, APP, 65, "fallback-mismatch"),
        ({"env": ["DB_PASSWORD", "TYPO"]}, APP, 78, "fallback-unused"),
        ({"env": {"db": {"password": "DB_PASSWORD"}}}, APP, 0, None),
        ({"env": {"db": {"user": "DB_PASSWORD"}}}, APP, 78, "fallback-mismatch"),
        ({"env": {"dp": {"password": "DB_PASSWORD"}}}, APP, 78, "fallback-mismatch"),
        (
            {"env": {"db": {"password": "DB_PASSWORD"}}},
            LEASED,
            78,
            "fallback-mismatch",
        ),
    ],
)
def test_check_rejects_a_fallback_that_can_never_work(sidecar, fallback, template, code, rule):
    sidecar.template("app.env.j2", template)
    sidecar.web["fallback"] = fallback
    expected = {(rule, "error")} if rule else set()
    found = findings(sidecar, env={"DB_PASSWORT": "x", "TYPO": "x"})
    assert found == (code, expected)


def test_check_lists_unset_variables_without_an_error(sidecar):
    del sidecar.environ["DB_PASSWORD"]
    assert findings(sidecar) == (0, {("fallback-unset", "warning")})
    done = sidecar.command("check")
    assert "not set in this environment: DB_PASSWORD" in done.stderr


def test_run_rejects_a_fallback_that_can_never_work(sidecar):
    sidecar.template("app.json.j2", '{"a": {{ secret("db").password }}}')
    sidecar.write_config()
    done = sidecar.command("run")
    assert done.returncode == 65
    assert (
        "app.json.j2: `fallback` names variables of env files, but this file has the format json and contains secrets"
        in done.stderr
    )
