"""`lessee set` writes one key for an operator, and returns when the apps work with it."""

import json
import os
import pty
import subprocess
import sys
import threading

import pytest

from support.programs.sidecar import PATIENCE, eventually
from support.servers.fault_proxy import Proxy, Reply

FORKED_AGENTS = True
CANARY = "canary-of-the-new-value"


@pytest.fixture
def path(bao, folder):
    bao.put(f"testing/{folder}/db", password="first", username="simba")
    return f"{folder}/db"


@pytest.fixture
def web(sidecar, path):
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{path}").password }}}}\n')
    sidecar.write_config()
    return sidecar


def stored(bao, path):
    return bao.ask("GET", f"secret/data/testing/{path}")["data"]


def test_the_other_keys_stay_and_the_app_has_the_value_when_it_returns(bao, web, path):
    web.start()
    done = web.command("set", path, "password", "--note", "leaked in a chat", text=CANARY + "\n")
    assert done.returncode == 0, done.stderr
    # No wait: it has returned only after the publication.
    assert (web.directory / "app.env").read_text() == f"PASSWORD='{CANARY}'\n"
    found = stored(bao, path)
    assert found["data"] == {"password": CANARY, "username": "simba"}
    assert found["metadata"]["custom_metadata"] == {"lessee-note-2": "leaked in a chat"}
    assert f"secret/testing/{path}: password is set: version 2" in done.stdout
    assert "read by: web" in done.stdout
    assert "web: its files have it since generation 2" in done.stdout
    assert CANARY not in done.stdout + done.stderr


def test_it_waits_for_the_app_to_be_ready_and_exits_with_75_where_it_is_not(bao, web, path):
    looks = ["grep", "-q", "good", str(web.directory / "app.env")]
    web.web["ready"] = {"command": looks, "initial_delay": "0ms", "timeout": "300ms"}
    bao.put(f"testing/{path}", password="good-1", username="simba")
    web.write_config()
    web.start()
    web.until(lambda status: status["apps"]["web"]["state"] == "ready")
    done = web.command("set", path, "password", text="good-2")
    assert (done.returncode, "works with it" in done.stdout) == (0, True), done.stdout
    done = web.command("set", path, "password", text="bad")
    assert done.returncode == 75, done.stdout
    assert "web: " in done.stdout
    assert stored(bao, path)["data"]["password"] == "bad"
    # What failed before is no answer about the next value.
    done = web.command("set", path, "password", text="good-3")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{0}", "pasword"), "it has no key 'pasword'; did you mean 'password'; a new key needs --create"),
        (("{0}", "other"), "its keys are password, username"),
        (("{0}x", "password"), "no such secret; did you mean {0}? If not, correct the path, or add --create"),
        (("nothing/alike", "password"), "no such secret; correct the path, or add --create"),
        (("secret/testing/{0}", "password"), "omit the mount secret/ and the environment"),
        (("{0}", "password", "--cas", "7"), "its version is 1, not 7"),
        (("{0}", "password", "--json"), "the value is not JSON, line 1 column 1"),
        (("../{0}", "password"), "is not a path"),
        (("{0}", "password", "--environment", "productoin"), "unknown environment 'productoin'"),
        (("{0}", "password", "--note", ""), "the note is empty"),
        (("{0}", ""), "KEY is empty"),
        (("{0}", "password", CANARY), "the value is no argument"),
        (("{0}", f"password={CANARY}", "--create"), "the value is no argument"),
    ],
)
def test_a_mistake_writes_nothing(bao, web, path, arguments, words):
    done = web.command("set", *(one.format(path) for one in arguments), text=CANARY)
    assert done.returncode == 64
    assert words.format(path) in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert stored(bao, path)["metadata"]["version"] == 1


def test_a_mistyped_folder_is_found_only_where_the_login_may_list(bao, web):
    folder = f"mistyped-{os.urandom(8).hex()}"  # Folders of other tests have similar names.
    path, mistyped = f"{folder}/db", f"x{folder[1:]}/db"
    bao.put(f"testing/{path}", password="first")
    assert f"did you mean {path}?" in web.command("set", mistyped, "password", text="x").stderr
    rule = 'path "secret/data/*" { capabilities = ["read", "update"] }'
    bao.ask("POST", f"sys/policies/acl/{folder}", {"policy": rule})
    token = bao.ask("POST", "auth/token/create", {"policies": [folder]})["auth"]["client_token"]
    web.environ["VAULT_TOKEN"] = token
    done = web.command("set", mistyped, "password", text="x")
    assert (done.returncode, "did you mean" in done.stderr) == (64, False), done.stderr


def test_a_denied_write_exits_with_77(bao, web, path):
    folder, _ = path.split("/")
    bao.ask("POST", f"sys/policies/acl/{folder}", {"policy": 'path "secret/data/*" { capabilities = ["read"] }'})
    token = bao.ask("POST", "auth/token/create", {"policies": [folder]})["auth"]["client_token"]
    web.environ["VAULT_TOKEN"] = token
    assert web.command("set", path, "password", text=CANARY).returncode == 77
    assert stored(bao, path)["metadata"]["version"] == 1


@pytest.mark.parametrize("may_patch", [True, False])
def test_a_note_leaves_what_others_write_to_the_metadata_meanwhile(bao, web, path, may_patch):
    """As a rotator does, between the read and the write. Without `patch` in its policy, it writes the whole."""
    folder, _ = path.split("/")
    where = f"secret/metadata/testing/{path}"
    olds = {f"lessee-note-{number}": "old" for number in range(3, 23)}
    bao.ask("POST", where, {"custom_metadata": olds})
    verbs = ["create", "read", "update", *(["patch"] if may_patch else [])]
    rule = "".join(
        f'path "secret/{kind}/*" {{ capabilities = {json.dumps(verbs)} }}\n' for kind in ("data", "metadata")
    )
    bao.ask("POST", f"sys/policies/acl/{folder}", {"policy": rule})
    web.environ["VAULT_TOKEN"] = bao.ask("POST", "auth/token/create", {"policies": [folder]})["auth"]["client_token"]

    def meanwhile(request):
        if request.method != "GET":
            found = bao.ask("GET", where)["data"]["custom_metadata"]
            bao.ask("POST", where, {"custom_metadata": found | {"rotation_id": "of a rotator"}})

    with Proxy(bao.port) as proxy:
        proxy.on_path(where, Reply(meanwhile))
        web.config["vault"]["address"] = proxy.address
        web.write_config()
        done = web.command("set", path, "password", "--note", "new", "--no-wait", text="x")
    assert done.returncode == 0, done.stderr
    found = bao.ask("GET", where)["data"]["custom_metadata"]
    del olds["lessee-note-3"]  # The oldest of twenty is dropped.
    expected = olds | {"lessee-note-2": "new"}
    assert found == (expected | {"rotation_id": "of a rotator"} if may_patch else expected)


def test_a_manual_rotation_target_has_a_better_way(web, path):
    web.config["rotation"] = {
        "brave": {"kind": "manual", "secret": path, "keys": ["password"], "verify": ["true"]},
    }
    web.write_config()
    done = web.command("set", path, "password", "--no-wait", text=CANARY)
    assert done.returncode == 0, done.stderr
    advice = "`lessee rotate brave --enter` tests it before the apps get it, and records when it is due again"
    assert f"note: this is the secret of the manual rotation target 'brave': {advice}" in done.stdout
    assert "the next rotation replaces the value" not in done.stdout


def test_structures_generated_values_and_new_keys(bao, web, path):
    assert web.command("set", path, "port", "--json", "--create", text="5432").returncode == 0
    assert web.command("set", path, "hosts", "--json", "--create", text='["a", {"b": 1.5}]').returncode == 0
    assert web.command("set", path, "password", "--generate", "40").returncode == 0
    data = stored(bao, path)["data"]
    assert (data["port"], data["hosts"], data["username"]) == (5432, ["a", {"b": 1.5}], "simba")
    assert len(data["password"]) == 40
    assert web.command("set", f"{path}-new", "token", "--generate", "--create").returncode == 0
    assert len(stored(bao, f"{path}-new")["data"]["token"]) == 32


def test_a_deleted_version_is_not_written_over_by_mistake(bao, web, path):
    bao.ask("DELETE", f"secret/data/testing/{path}")
    done = web.command("set", path, "password", text="x")
    assert done.returncode == 64
    assert f"bao kv undelete -mount=secret -versions=1 testing/{path}" in done.stderr


def test_two_operators_at_once_lose_nothing(bao, web, path):
    """Each writes another key; check-and-set makes the later one read again."""
    names = [f"key{number}" for number in range(6)]
    bao.put(f"testing/{path}", **dict.fromkeys(names, "before"))
    found = []

    def write(name):
        found.append(web.command("set", path, name, "--no-wait", text=f"of {name}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    written = {name for name, value in stored(bao, path)["data"].items() if value == f"of {name}"}
    assert len(written) == sum(done.returncode == 0 for done in found)
    assert all(done.returncode in {0, 77} for done in found)
    assert len(written) >= 2


def test_a_terminal_is_asked_twice_without_echo(bao, web, path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "lessee", "set", path, "password", "--no-wait"]
    said = b""

    def asked(count):
        nonlocal said
        while said.count(b" = ") < count:
            said += os.read(ours, 1000)
        return True

    with subprocess.Popen(
        command, cwd=web.disk, env=web.environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        for count in (1, 2):
            eventually(lambda count=count: asked(count), "the prompt")
            os.write(ours, CANARY.encode() + b"\n")
        assert process.wait(PATIENCE) == 0
    os.close(ours)
    assert stored(bao, path)["data"]["password"] == CANARY
    assert CANARY.encode() not in said


def test_a_mistake_is_an_error_before_the_value_is_typed(web, path):
    ours, theirs = pty.openpty()
    try:
        done = web.command("set", path, "pasword", stdin=theirs)
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 64
    assert "did you mean 'password'" in done.stderr
    assert " = " not in done.stdout + done.stderr


def test_the_configured_environment_needs_no_setup_block(bao, web, path):
    web.environ.pop("LESSEE_ENVIRONMENT")
    web.config["environment"] = "testing"
    web.config["setup"] = {"environments": ["production"]}
    web.write_config()
    done = web.command("set", path, "password", "--environment", "testing", "--no-wait", text=CANARY)
    assert done.returncode == 0, done.stderr
    assert stored(bao, path)["data"]["password"] == CANARY


def test_without_an_agent_it_says_that_it_did_not_wait(web, path):
    done = web.command("set", path, "password", text="x")
    assert done.returncode == 0
    assert "not waited for the apps" in done.stdout


@pytest.mark.parametrize("words", [[f"password={CANARY}"], ["password", CANARY], ["password", f"--value={CANARY}"]])
def test_a_value_among_the_arguments_is_in_no_error_and_not_in_the_audit_trail(web, path, tmp_path, words):
    web.config["audit_trail"] = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "key")}
    web.write_config()
    for option in ([], ["--create"]):
        done = web.command("set", path, *words, *option, text="x")
        assert done.returncode == 64
        assert CANARY not in done.stdout + done.stderr
    assert not any(CANARY in file.read_text() for file in (tmp_path / "trail").rglob("*") if file.is_file())


def test_it_is_recorded(bao, web, path, tmp_path):
    web.config["audit_trail"] = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "key")}
    web.write_config()
    done = web.command("set", path, "password", "--no-wait", text=CANARY)
    assert done.returncode == 0, done.stderr
    text = "".join(file.read_text() for file in (tmp_path / "trail").rglob("*") if file.is_file())
    assert json.dumps(f"secret/testing/{path}") in text
    assert '"set"' in text
    assert CANARY not in text
    assert stored(bao, path)["data"]["password"] == CANARY
