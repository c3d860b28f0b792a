"""A program makes the credential of a login: bounded, without a shell, and nothing that it prints is repeated."""

import sys
import time

import pytest

from lessee.config.grammar.vault import AppRole, JwtAuth
from lessee.core.failures import Kind
from lessee.host import procfs
from lessee.host.clock import boot_time
from lessee.vault.auth.credential_command import MAX_OUTPUT, CredentialCommand
from lessee.vault.client_factory import auth_method_of
from lessee.vault.transport import Address, RequestFailedError, Transport
from support.programs.sidecar import eventually
from support.servers.jwt_signer import Signer

CANARY = "canary-credential"
POLICY = 'path "secret/data/testing/*" { capabilities = ["read"] }'


def python(code):
    return (sys.executable, "-c", code)


def failure_of(code, **settings):
    with pytest.raises(RequestFailedError) as caught:
        CredentialCommand(python(code), **settings).credential()
    failure = caught.value.failure
    assert CANARY not in failure.text
    assert not code or code not in failure.text
    return failure


@pytest.fixture
def transport(bao):
    way = Transport(Address(bao.address))
    yield way
    way.close()


def test_the_credential_is_what_it_prints_on_stdout_alone():
    code = f"import sys; print('to stderr', file=sys.stderr); print(' {CANARY} ')"
    assert CredentialCommand(python(code)).credential() == CANARY


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (f"print('{CANARY}'); raise SystemExit(3)", Kind.UNAVAILABLE, "failed with status 3; run it as the agent's"),
        (f"print('{CANARY}'); import os; os.kill(os.getpid(), 9)", Kind.UNAVAILABLE, "failed with status -9"),
        ("", Kind.DENIED, "printed nothing on stdout"),
        (f"print('{CANARY}\\n{CANARY}')", Kind.DENIED, "printed more than one line"),
        (f"print('{CANARY}' + chr(27))", Kind.DENIED, "printed more than one line"),
        ("import sys; sys.stdout.buffer.write(bytes([255]))", Kind.DENIED, "printed what is not UTF-8 text"),
        (f"print('x' * {MAX_OUTPUT})", Kind.DENIED, f"printed more than {MAX_OUTPUT} bytes"),
        ("while True: print('x' * 65536)", Kind.DENIED, f"printed more than {MAX_OUTPUT} bytes"),
    ],
)
def test_what_is_no_credential_is_a_failed_login(code, kind, reason):
    failure = failure_of(code)
    assert (failure.kind, reason in failure.text) == (kind, True), failure.text


@pytest.mark.parametrize(
    "code", ["import time; time.sleep(300)", "import os, time; os.close(1); time.sleep(300)"], ids=["silent", "closed"]
)
def test_a_program_that_does_not_end_is_killed(code):
    began = time.monotonic()
    failure = failure_of(code, timeout=0.5)
    assert (failure.kind, "was killed after 0.5 s" in failure.text) == (Kind.UNAVAILABLE, True)
    assert time.monotonic() - began < 60


def test_what_it_leaves_running_is_killed_and_does_not_hold_the_login(tmp_path):
    file = tmp_path / "pid"
    code = f"""
import os, time
if os.fork() == 0:
    open({str(file)!r}, "w").write(str(os.getpid()))
    time.sleep(300)  # It holds stdout open.
while not os.path.exists({str(file)!r}) or not open({str(file)!r}).read():
    time.sleep(0.01)
print("{CANARY}")
"""
    assert CredentialCommand(python(code)).credential() == CANARY
    eventually(lambda: has_ended(int(file.read_text())), "the end of what it started")


def has_ended(pid):
    try:
        return procfs.stat(pid).has_exited
    except OSError:
        return True


def test_a_program_that_cannot_start_is_named_and_one_with_a_shell_s_words_is_no_shell():
    for command in (("/nonexistent/helper", CANARY), (f"echo {CANARY}; true",), ("true\0",)):
        with pytest.raises(RequestFailedError, match="it was not started") as caught:
            CredentialCommand(command).credential()
        assert caught.value.failure.kind is Kind.DENIED


def test_its_environment_is_bare_and_it_has_no_capability(monkeypatch):
    for name in ("VAULT_TOKEN", "DATABASE_PASSWORD", "CREDENTIALS_DIRECTORY", "LESSEE_CONFIG"):
        monkeypatch.setenv(name, CANARY)
    code = """
import os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(",".join(sorted(os.environ)), int(status["CapEff"], 16), int(status["NoNewPrivs"]), os.read(0, 1))
"""
    names, *rest = CredentialCommand(python(code)).credential().split()
    assert rest == ["0", "1", "b''"]
    assert not {name for name in names.split(",") if name.startswith(("VAULT", "DATABASE", "CRED", "LESSEE"))}


def test_a_changed_program_is_tried_soon_after_a_refusal(tmp_path):
    program = tmp_path / "helper"
    command = CredentialCommand((str(program),))
    absent = command.fingerprint()
    program.write_text("#!/bin/sh\n")
    present = command.fingerprint()
    assert absent != present == command.fingerprint()


def test_approle_logs_in_with_a_secret_id_that_a_program_prints(bao, transport, tmp_path):
    role_id, secret_id = bao.approle("reader-by-command", POLICY)
    file = tmp_path / "s"
    file.write_text(secret_id)
    method = auth_method_of(AppRole(role_id=role_id, secret_id_command=("cat", str(file))), {})
    assert method.login(transport, boot_time).value
    file.write_text("wrong")
    with pytest.raises(RequestFailedError, match="they are the role_id and the output of cat") as caught:
        method.login(transport, boot_time)
    assert caught.value.failure.kind is Kind.DENIED
    assert secret_id not in caught.value.failure.text


def test_approle_unwraps_what_a_program_prints_once_and_keeps_it_in_memory(bao, transport, tmp_path):
    role_id, _ = bao.approle("wrapped-by-command", POLICY)
    program = tmp_path / "helper"
    # Each call makes another secret_id.
    program.write_text(f"""#!{sys.executable}
import json, urllib.request
request = urllib.request.Request(
    "{bao.address}/v1/auth/approle/role/wrapped-by-command/secret-id",
    method="POST", data=b"{{}}", headers={{"X-Vault-Token": "root-of-a-server-in-memory", "X-Vault-Wrap-TTL": "60s"}},
)
print(json.load(urllib.request.urlopen(request, timeout=20))["wrap_info"]["token"])
""")
    program.chmod(0o755)
    auth = AppRole(role_id=role_id, secret_id_command=(str(program),), wrapped=True)
    method = auth_method_of(auth, {})
    for _ in range(2):
        assert method.login(transport, boot_time).value
    made = bao.ask("LIST", "auth/approle/role/wrapped-by-command/secret-id")["data"]["keys"]
    assert len(made) == 2  # Its own, and the one of `bao.approle`.


def test_jwt_logs_in_with_what_a_program_prints(bao, transport, tmp_path):
    signer, mount, file = Signer(), "jwt-by-command", tmp_path / "jwt"
    bao.ask("POST", f"sys/auth/{mount}", {"type": "jwt"})
    bao.ask("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [signer.public_key]})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": ["default"]}
    bao.ask("POST", f"auth/{mount}/role/web", role)
    file.write_text(signer.sign(sub="web", aud="vault"))
    method = auth_method_of(JwtAuth(jwt_command=("cat", str(file)), role="web", mount=mount), {})
    assert method.login(transport, boot_time).value
    file.write_text(signer.sign(sub="web", aud="other"))
    with pytest.raises(RequestFailedError, match="the output of cat at auth/jwt-by-command/login, role web"):
        method.login(transport, boot_time)
