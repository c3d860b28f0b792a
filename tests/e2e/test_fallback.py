"""A cold start while Vault is away: who opted in gets files, is known to be degraded, and then gets Vault's own."""

import json
import shutil
import stat
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from types import SimpleNamespace

import msgspec
import pytest

from lessee.core.last_known_good import SnapshotHeader
from lessee.host.encrypted_file import decrypt, encrypt, read
from lessee.host.inotify import ANY_CHANGE, Inotify
from lessee.host.openbao import OpenBao, free_port
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Fault, Proxy, Status

FORKED_AGENTS = True
CANARY = "canary-5c1e'$x"
SPARE = "spare-9d2f'$y"
APP = 'DB_PASSWORD={{ secret("db").password }}\n'
QUOTED = {CANARY: "'canary-5c1e\\'$x'", SPARE: "'spare-9d2f\\'$y'"}
GRACE = 2.0


def file_of(value):
    return f"DB_PASSWORD={QUOTED.get(value, repr(value))}\n"


@pytest.fixture
def proxy(bao):
    with Proxy(bao.port) as proxy:
        yield proxy


@pytest.fixture
def sidecar(bao, proxy, folder, tmp_path, memory):
    """One app of one secret in an environment of its own, with Vault away from the start."""
    bao.put(f"{folder}/db", password=CANARY)
    agent = Sidecar(proxy.address, tmp_path, memory, environment=folder)
    agent.template("app.env.j2", APP)
    agent.web["fallback"] = {"env": ["DB_PASSWORD"]}
    agent.environ["DB_PASSWORD"] = SPARE
    proxy.fault = Fault.REFUSE
    yield agent
    agent.close()


def marker(sidecar, app="web"):
    return sidecar.memory / app / ".degraded"


def add_app(sidecar, name, template=None, **settings):
    """Add an app like `web`."""
    app = sidecar.web | {"directory": str(sidecar.memory / name)} | settings
    if template is not None:
        (sidecar.disk / f"{name}.env.j2").write_text(template)
        app["files"] = [{"template": f"{name}.env.j2", "name": "app.env"}]
    sidecar.config["apps"][name] = app


def env_file(sidecar, app):
    return sidecar.memory / app / "app.env"


def is_degraded(sidecar, by="env"):
    """As everybody can see who looks, if all apps have files."""
    status = sidecar.until(lambda status: status["apps"]["web"]["degraded"] == by)
    assert (status["ready"], status["fresh"]) == (True, False)
    assert sidecar.get("/readyz")[0] == 200
    assert sidecar.get("/readyz?fresh")[0] == 503
    return has_fallback(sidecar, status, "web", by)


def has_fallback(sidecar, status, name, by="env"):
    app = status["apps"][name]
    assert (app["degraded"], app["degraded_since"]) == (by, app["published_at"])
    assert any(f"{name} is degraded: its files come from" in line for line in status["problems"])
    assert json.loads(marker(sidecar, name).read_text())["from"] == by
    assert f'lessee_app_degraded{{app="{name}"}} 1.0' in sidecar.get("/metrics")[1]
    assert f"DEGRADED ({by})" in sidecar.command("status").stdout
    return True


def is_as_vault_has_it(sidecar, value=CANARY):
    sidecar.until_file("app.env", file_of(value))
    sidecar.until(lambda s: s["fresh"] and not s["problems"] and s["apps"]["web"]["degraded"] is None)
    assert not marker(sidecar).exists()
    assert 'lessee_app_degraded{app="web"} 0.0' in sidecar.get("/metrics")[1]
    return True


def comes_to_nothing_in(text, *values):
    assert not [value for value in values if value in text]


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_files_of_a_killed_agent_remain_after_a_restart_without_vault_and_its_marker_is_removed(sidecar, proxy):
    proxy.clear()
    sidecar.start()
    sidecar.process.kill()
    sidecar.process.wait()
    marker(sidecar).write_text("left")
    proxy.fault = Fault.REFUSE
    add_app(sidecar, "late")
    sidecar.start(wait=False)
    # The one app gets its fallback at a time when the other could have got one too.
    status = sidecar.until(lambda s: s["apps"]["late"]["degraded"])
    assert (sidecar.directory / "app.env").read_text() == file_of(CANARY)
    assert (status["ready"], status["fresh"], status["apps"]["web"]["degraded"]) == (True, False, None)
    assert not marker(sidecar).exists()
    proxy.clear()
    assert is_as_vault_has_it(sidecar)


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


# One agent, whose apps meet one kind of outage or failure each.

REFUSED = "missing", "refused"
AWAY = {"hanging": Fault.HANG, "sealed": Status(503)}
DEGRADED = ("web", "formats", "same", "checked", *AWAY)
WAITING = ("none", "unset", "login", *REFUSED)


@pytest.fixture(scope="module")
def cold(bao, tmp_path_factory, module_memory):
    """What the apps have during the outages (`before`), after them (`after`), and then after a change in Vault."""
    disk, folder = tmp_path_factory.mktemp("cold"), module_memory.name
    bao.put(f"{folder}/db", password=CANARY, host="main")
    bao.put(f"{folder}/late", password=CANARY)
    agent = Sidecar("", disk, module_memory, environment=folder)
    with ExitStack() as stack:
        away, partly, *others = (stack.enter_context(Proxy(bao.port)) for _ in range(2 + len(AWAY)))
        agent.config["vault"]["address"] = away.address
        configure(agent, bao, partly, dict(zip(AWAY, others, strict=True)))
        away.fault = Fault.REFUSE
        partly.on_path(f"secret/data/{folder}/db", Status(403))
        partly.on_path(f"secret/data/{folder}/late", Status(503))
        for proxy, fault in zip(others, AWAY.values(), strict=True):
            proxy.fault = fault
        agent.directory.mkdir(mode=0o700)
        stack.callback(agent.close)
        inotify = Inotify()
        stack.callback(inotify.close)
        inotify.watch(agent.directory, ANY_CHANGE)

        agent.start(wait=False)
        agent.until(
            lambda s: (
                all(s["apps"][app]["degraded"] for app in DEGRADED)
                and all(s["apps"][app]["secrets"][0]["error"] for app in REFUSED)
                and all(any(text in line for line in s["problems"]) for text in ("login failed", "has no UNSET"))
            )
        )
        partly.fault = Fault.REFUSE
        # It had only failures that may pass; the others are denied, and would get their fallback at the same time.
        before = agent.until(lambda s: s["apps"]["late"]["degraded"])
        found = SimpleNamespace(agent=agent, before=before, files=files(agent), mode=marker(agent).stat().st_mode)
        for name in DEGRADED:
            assert has_fallback(agent, before, name)
        for proxy in (away, partly, *others):
            proxy.clear()
        served = (*DEGRADED, "none", "unset", "refused", "late")
        found.after = agent.until(
            lambda s: (
                all(s["apps"][app]["secrets"] and not s["apps"][app]["degraded"] for app in served)
                and all(s["apps"][app]["published_at"] for app in served)
                and s["apps"]["same"]["fresh"]
            )
        )
        found.later_files = files(agent)
        found.changes = [(mask, name.decode()) for mask, name in inotify.read()]
        bao.put(f"{folder}/db", password="changed", host="main")
        notified = disk / "notified"
        eventually(lambda: notified.read_text().count("\n") >= 2, "the notification of the change")
        found.notified, found.environ = notified.read_text(), (disk / "said").read_text()
        yield found


def configure(agent, bao, partly, others):
    """Add the apps; `partly` is the address of those that Vault answers before its outage."""
    said, notified = agent.disk / "said", agent.disk / "notified"
    agent.environ |= {"DB_PASSWORD": SPARE, "DB_HOST": "spare", "SAME": CANARY}
    agent.template("app.env.j2", APP)
    agent.web["fallback"] = {"env": ["DB_PASSWORD"]}
    for name in ("checked", "same", "formats"):
        add_app(agent, name)
    agent.config["apps"]["checked"]["check"] = [
        "sh",
        "-c",
        f"grep -q spare {{directory}}/app.env && env > {said}; true",
    ]
    agent.config["apps"]["same"] |= {
        "fallback": {"env": {"db": {"password": "SAME"}}},
        "notify": {"command": ["sh", "-c", f"echo notified >> {notified}"]},
    }
    (agent.disk / "app.json.j2").write_text(
        '{"hosts": [{{ secret("db").host }}], "password": {{ secret("db").password }}}'
    )
    agent.config["apps"]["formats"] |= {
        "files": [{"template": "app.env.j2"}, {"template": "app.json.j2"}],
        "fallback": {"env": {"db": {"password": "DB_PASSWORD", "host": "DB_HOST"}}},
    }
    add_app(agent, "none")
    del agent.config["apps"]["none"]["fallback"]
    add_app(agent, "unset", APP.replace("DB_PASSWORD", "UNSET"), fallback={"env": ["UNSET"]})
    agent.log_in_by_approle(bao, 'path "secret/*" { capabilities = ["read", "list"] }')
    (agent.disk / "secret_id").write_text("wrong")
    add_app(agent, "login", vault={"address": bao.address, "auth": agent.config["vault"].pop("auth")})
    add_app(agent, "refused", vault={"address": partly.address})
    add_app(agent, "missing", APP.replace('"db"', '"nowhere"'), vault={"address": partly.address})
    add_app(agent, "late", APP.replace('"db"', '"late"'), vault={"address": partly.address})
    for name, proxy in others.items():
        add_app(agent, name, vault={"address": proxy.address})


def files(agent):
    """The content of all files of all apps."""
    paths = (path for name in agent.config["apps"] for path in (agent.memory / name).glob("*"))
    return {f"{path.parent.name}/{path.name}": path.read_text() for path in paths if path.is_file()}


def waits(cold, app):
    """Nothing was published, though other apps have their fallback by now."""
    status = cold.before["apps"][app]
    assert (status["state"], status["degraded"], cold.before["ready"]) == ("waiting", None, False)
    assert not [name for name in cold.files if name.startswith(f"{app}/")]
    return [one for one in cold.agent.events() if one["event"] == "fallback published" and one["app"] == app] == []


def has_vaults_file(cold, app):
    assert f"{app}/.degraded" not in cold.later_files
    return cold.later_files[f"{app}/app.env"] == file_of(CANARY)


@pytest.mark.thorough
def test_the_marker_exists_before_the_fallback_files_and_until_they_are_replaced(cold):
    moved, deleted = 0x80, 0x200  # inotify(7)
    wanted = {(moved, ".degraded"), (moved, "..data"), (deleted, ".degraded")}
    order = [(name, mask) for mask, name in cold.changes if (mask, name) in wanted]
    assert order[0] == (".degraded", moved)
    assert [one for one in order if one != (".degraded", moved)] == [("..data", moved)] * 2 + [(".degraded", deleted)]
    assert stat.S_IMODE(cold.mode) == 0o444
    assert cold.files["web/app.env"] == file_of(SPARE)
    assert has_vaults_file(cold, "web")


def test_a_fallback_with_vaults_values_causes_no_second_notification(cold):
    before, after = (moment["apps"]["same"]["generation"] for moment in (cold.before, cold.after))
    assert before == after
    assert has_vaults_file(cold, "same")
    assert cold.notified == "notified\nnotified\n", "of the fallback, and of a change after it"


def test_a_fallback_from_variables_supports_every_format(cold):
    assert json.loads(cold.files["formats/app.json"]) == {"hosts": ["spare"], "password": SPARE}
    assert cold.files["formats/app.env"] == file_of(SPARE)
    assert json.loads(cold.later_files["formats/app.json"]) == {"hosts": ["main"], "password": CANARY}


def test_an_app_without_fallback_waits_for_vault(cold):
    assert waits(cold, "none")
    assert has_vaults_file(cold, "none")


def test_an_unset_variable_is_logged_and_the_app_waits_for_vault(cold):
    assert waits(cold, "unset")
    reason = "apps.unset.fallback: the agent's environment has no UNSET"
    assert any(f"unset has no fallback: {reason}" in line for line in cold.before["problems"])
    [said] = [event for event in cold.agent.events() if event["event"] == "fallback variables not set"]
    assert (said["app"], said["names"]) == ("unset", "UNSET")
    assert cold.later_files["unset/app.env"] == file_of(CANARY).replace("DB_PASSWORD", "UNSET")


@pytest.mark.parametrize("app", REFUSED)
def test_a_fallback_never_hides_a_denied_or_missing_secret(cold, app):
    assert waits(cold, app)
    [identity] = [one for one in cold.before["identities"] if app in one["apps"]]
    assert not identity["vault"]["reachable"]
    assert ("refused/app.env" in cold.later_files, "missing/app.env" in cold.later_files) == (True, False)


def test_a_fallback_never_hides_a_denied_login(cold):
    assert waits(cold, "login")
    assert any("login failed" in line for line in cold.before["problems"])


@pytest.mark.parametrize("app", AWAY)
def test_a_server_that_hangs_or_is_sealed_is_unavailable_too(cold, app):
    assert cold.files[f"{app}/app.env"] == file_of(SPARE)
    assert has_vaults_file(cold, app)


def test_started_programs_do_not_inherit_the_fallback_variables(cold):
    assert cold.files["checked/app.env"] == file_of(SPARE)
    assert "HOME=" in cold.environ
    comes_to_nothing_in(cold.environ, SPARE, "DB_PASSWORD")


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


@pytest.mark.thorough
def test_a_child_starts_with_the_rendered_fallback_and_without_its_variables(sidecar):
    environ_of(sidecar)
    for _ in range(2):  # The second finds files that are known to come from a fallback, and no environment.
        done = execute(sidecar, "sh", "-c", SHOWS, str(sidecar.directory / "app.env"))
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{SPARE}-pg rendered none\n{file_of(SPARE)}"
        comes_to_nothing_in(done.stderr, SPARE)


@pytest.mark.thorough
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


@pytest.mark.thorough
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

HOUR = 3600
INVALID = {
    "foreign": "the snapshot is of app web in ",
    "elsewhere": "in production",
    "aged": "the snapshot is 1 hours old",
    "garbled": "not a file that lessee encrypted",
    "absent": "no snapshot exists yet",
}
REJECTED = {
    "other": "the templates read secrets that are not in the snapshot: secret/",
    "modified": "the file was changed or truncated, or encrypted with another key",
    **INVALID,
}


@pytest.fixture(scope="module")
def restored(bao, tmp_path_factory, module_memory):
    """Apps with a snapshot each lost their files while Vault was away: `before` and `after` Vault was available.

    The snapshots of `web` and `new` serve, each other one is rejected for another reason.
    """
    disk, folder = tmp_path_factory.mktemp("restored"), f"{module_memory.name}-snapshots"
    memory = module_memory / "restored"
    memory.mkdir()
    bao.put(f"{folder}/db", password=CANARY)
    agent = Sidecar("", disk, memory, environment=folder)
    agent.snapshots = disk / "snapshots"
    agent.environ["LESSEE_HOST_KEY_FILE"] = str(disk / "host.key")
    agent.template("app.env.j2", APP)
    for name in ("web", "new", *REJECTED):
        fallback = {"last_known_good": str(agent.snapshots / name), "max_age": "30m"}
        add_app(agent, name, APP if name in {"new", "other"} else None, fallback=fallback)
    with Proxy(bao.port) as proxy, ExitStack() as stack:
        stack.callback(agent.close)
        agent.config["vault"]["address"] = proxy.address
        agent.start()
        eventually(lambda: all((agent.snapshots / name).exists() for name in agent.config["apps"]), "the snapshots")
        agent.stop()
        proxy.fault = Fault.REFUSE
        lose_memory(agent)
        saved = (agent.snapshots / "web").read_bytes()
        (agent.disk / "new.env.j2").write_text('NEW={{ secret("db").password }}\n')
        (agent.disk / "other.env.j2").write_text('NEW={{ secret("other").password }}\n')
        spoil(agent, folder)

        agent.start(wait=False)
        before = agent.until(
            lambda s: (
                all(s["apps"][app]["degraded"] for app in ("web", "new"))
                and all(reason in why_not(s, app) for app, reason in REJECTED.items())
            )
        )
        assert has_fallback(agent, before, "web", "last_known_good")
        found = SimpleNamespace(agent=agent, before=before, files=files(agent), saved=saved, proxy=proxy)
        found.kept = (agent.snapshots / "web").read_bytes()
        bao.put(f"{folder}/other", password=CANARY)
        proxy.clear()
        found.after = agent.until(lambda s: s["ready"] and s["fresh"] and len(s["problems"]) == 1)
        eventually(lambda: (agent.snapshots / "web").read_bytes() != saved, "what is good now")
        found.later_files = files(agent)
        yield found


def lose_memory(agent):
    """As at a boot: nothing is left of what lay on tmpfs."""
    for name in ("state", *agent.config["apps"]):
        shutil.rmtree(agent.memory / name)
    agent.log.unlink()


def spoil(agent, folder):
    key = agent.disk / "host.key"
    file = {name: agent.snapshots / name for name in REJECTED}
    content = decrypt(read(agent.snapshots / "web"), key)
    changed = bytearray(file["modified"].read_bytes())
    changed[-1] ^= 1
    file["modified"].write_bytes(changed)
    shutil.copy(agent.snapshots / "web", file["foreign"])
    encrypt(file["elsewhere"], label("elsewhere", "production"), content, key)
    encrypt(file["aged"], label("aged", folder, time.time() - HOUR), content, key)
    file["garbled"].write_text("no such thing")
    file["absent"].unlink()


def label(app, environment, kept_at=None):
    return msgspec.json.encode(SnapshotHeader(app, environment, kept_at or time.time()))


def why_not(status, app):
    return next((line for line in status["problems"] if line.startswith(f"{app} has no fallback: ")), "")


@pytest.mark.thorough
def test_a_snapshot_restores_lost_files(restored):
    agent = restored.agent
    assert stat.S_IMODE((agent.snapshots / "web").stat().st_mode) == 0o600
    assert stat.S_IMODE((agent.disk / "host.key").stat().st_mode) == 0o600
    assert CANARY.encode() not in restored.saved
    assert b"password" not in restored.saved
    assert restored.files["web/app.env"] == file_of(CANARY)
    assert restored.kept == restored.saved, "what was rendered from a fallback is not saved"
    assert has_vaults_file(restored, "web")
    comes_to_nothing_in(agent.log.read_text(), CANARY)


def test_a_snapshot_supports_changed_templates_that_need_no_other_secrets(restored):
    assert restored.files["new/app.env"] == f"NEW={QUOTED[CANARY]}\n"
    assert is_rejected(restored, "other")
    assert restored.later_files["other/app.env"] == f"NEW={QUOTED[CANARY]}\n"


@pytest.mark.parametrize("app", INVALID)
def test_an_invalid_snapshot_is_rejected_and_the_app_waits_for_vault(restored, app):
    """Next to others whose snapshot is valid."""
    assert is_rejected(restored, app)
    assert has_vaults_file(restored, app)
    [line] = restored.after["problems"]
    assert "garbled: its last-known-good snapshot is not saved" in line
    assert (restored.agent.snapshots / "garbled").read_text() == "no such thing", (
        "what is not lessee's is not written over"
    )


def test_a_modified_snapshot_is_rejected(restored):
    assert is_rejected(restored, "modified")


def is_rejected(restored, app):
    file = restored.agent.snapshots / app
    assert why_not(restored.before, app).startswith(f"{app} has no fallback: {file}: ")
    assert REJECTED[app] in why_not(restored.before, app)
    return waits(restored, app)


def test_a_change_in_vault_is_saved_in_the_snapshot(sidecar, bao, proxy, folder, tmp_path):
    key, file = tmp_path / "host.key", tmp_path / "snapshots" / "web"
    del sidecar.environ["DB_PASSWORD"]
    sidecar.environ["LESSEE_HOST_KEY_FILE"] = str(key)
    sidecar.web["fallback"] = {"last_known_good": str(file)}
    proxy.clear()
    sidecar.start()
    eventually(file.exists, "the snapshot")
    bao.put(f"{folder}/db", password="third")
    eventually(lambda: b"third" in decrypt(read(file), key), "the change")
    sidecar.stop()
    lose_memory(sidecar)
    proxy.fault = Fault.REFUSE
    sidecar.start()
    assert (sidecar.directory / "app.env").read_text() == file_of("third")
    assert is_degraded(sidecar, "last_known_good")


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


def test_check_accepts_a_fallback_that_serves(sidecar):
    add_app(sidecar, "other", fallback={"env": {"db": {"password": "DB_PASSWORD"}}})
    assert findings(sidecar) == (0, set())


def test_check_rejects_a_fallback_that_a_template_needs_more_of(sidecar):
    sidecar.web["fallback"] = {"env": ["DB_PASSWORT"]}
    assert findings(sidecar, env={"DB_PASSWORT": "x"}) == (65, {("fallback-mismatch", "error")})


def test_check_rejects_a_fallback_that_can_never_work(sidecar):
    """Each in an app of its own."""
    rejected = {
        "unused": ({"env": ["DB_PASSWORD", "TYPO"]}, APP, "fallback-unused"),
        "user": ({"env": {"db": {"user": "DB_PASSWORD"}}}, APP, "fallback-mismatch"),
        "path": ({"env": {"dp": {"password": "DB_PASSWORD"}}}, APP, "fallback-mismatch"),
        "leased": ({"env": {"db": {"password": "DB_PASSWORD"}}}, LEASED, "fallback-mismatch"),
    }
    for name, (fallback, template, _) in rejected.items():
        add_app(sidecar, name, template, fallback=fallback)
    sidecar.write_config()
    done = sidecar.command("check", "--format", "json", env={"TYPO": "x"})
    assert done.returncode == 78
    found = {(one["app"], one["rule"], one["level"]) for one in json.loads(done.stdout)}
    assert found == {(name, rule, "error") for name, (_, _, rule) in rejected.items()}


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
