"""Credentials that servers verify from a secret of their own: they accept a new one before any client uses it."""

import json
import os
import time
from contextlib import contextmanager
from itertools import count

import bcrypt
import pytest

from lessee.config.grammar.rotation import VerifiedTarget
from lessee.core.redaction import Redactor
from lessee.host.openbao import ROOT_TOKEN
from lessee.host.project import read
from lessee.ops.access.policy.rotator_policy import of_rotator
from lessee.ops.incident.rotation import rotate_immediately
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.targets import Project
from lessee.vault.admin import admin_client
from support.environments.rotation_targets import FUTURE_VERSION, RotationTarget
from support.programs.forks import run_lessee
from support.programs.sidecar import eventually
from support.systems.verified import (
    APP,
    AgeIdentities,
    BasicAuthUsers,
    JwtKeys,
    SigningKeys,
    SshKeys,
    TotpSeeds,
    keys_of,
    sign,
)

KINDS = [AgeIdentities, BasicAuthUsers, JwtKeys, SigningKeys, SshKeys, TotpSeeds]
OPERATORS_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFuIG9wZXJhdG9yJ3Mga2V5IGZvciBhIHRlc3QhISEh operator"


@pytest.fixture
def started(bao, tmp_path):
    """A target of this kind, whose clients have confirmed all versions."""

    @contextmanager
    def start(kind, **settings):
        with kind.started(tmp_path) as new:
            target = RotationTarget(bao, tmp_path, new(), **{"verifiers": [APP], **settings})
            target.confirm(version=FUTURE_VERSION)
            yield target

    return start


@contextmanager
def project_of(target):
    """A target's project and a client, as an emergency uses them."""
    environ = {"VAULT_TOKEN": ROOT_TOKEN, "PATH": os.environ["PATH"]}
    path = target.folder / "lessee.yaml"
    project = Project(read(path, environ, blocks=("rotation",)), path, environ, Redactor())
    with admin_client(project.config.vault, environ, time.monotonic) as client:
        yield project, client


def put_accepted(target, **fields):
    """Write the verifier's secret, as an operator does."""
    target.put(target.system.verifier_secret, **fields)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_published_before_the_servers_have_loaded_it(started, kind):
    with started(kind, confirmation_timeout="1h") as target:
        target.rotate()
        before, version = target.fields(), 1
        target.system.confirm(version)
        assert target.rotate(wait=False) is Outcome.WAITING
        assert target.journal.step is Step.CREATED
        assert target.fields() == before
        assert target.system.accepts(before)
        assert target.rotate(wait=False, finish_only=True) is Outcome.WAITING
        assert target.fields() == before
        target.system.confirm(FUTURE_VERSION)
        assert target.rotate(finish_only=True) is Outcome.ROTATED
        assert target.fields()["rotation_count"] == 2
        assert target.system.accepts(target.fields())
        assert target.system.orphans(target.fields()) == set()


@pytest.mark.parametrize("kind", [AgeIdentities, SshKeys])
def test_a_server_that_does_not_load_it_is_named_and_the_old_credential_stays_valid(started, kind):
    with started(kind, confirmation_timeout="200ms") as target:
        target.rotate()
        before = target.fields()
        target.system.confirm(1, instance="lost")
        text = f"target: the servers {APP}/lost have not loaded the new credential, so it is not published"
        with pytest.raises(SystemUnavailableError, match=text):
            target.rotate()
        assert target.fields() == before
        assert target.system.accepts(before)
        assert (target.journal.step, target.journal.failures) == (Step.CREATED, 1)
        target.system.confirm(FUTURE_VERSION, instance="lost")
        assert target.rotate(finish_only=True) is Outcome.ROTATED
        assert target.system.accepts(target.fields())


def test_a_named_server_that_never_reported_is_waited_for(started):
    with (
        started(TotpSeeds, confirmation_timeout="200ms", verifiers=["portal"]) as target,
        pytest.raises(SystemUnavailableError, match="the servers portal have not loaded the new credential"),
    ):
        target.rotate()


def test_without_a_known_server_it_is_published_after_the_timeout(started, caplog):
    with started(TotpSeeds, verifiers=[]) as target:
        path = f"secret/metadata/{target.environment}/lessee/consumers/{APP}/host-1"
        target.bao.ask("DELETE", path)
        assert target.rotate() is Outcome.ROTATED
        assert "verifiers unknown" in caplog.messages
        journal = target.journal
        assert journal.history[-1].at - 0.1 <= journal.rotated_at


def test_at_the_first_rotation_the_servers_get_the_clients_credential_too(started):
    with started(SshKeys, revoke_delay="0s", confirmation_timeout="1h") as target:
        before = target.fields()
        path = f"secret/metadata/{target.environment}/{target.system.verifier_secret}"
        target.bao.ask("DELETE", path)
        target.confirm(version=1)
        assert target.rotate(wait=False) is Outcome.ROTATED
        assert target.system.accepts(before)
        assert target.system.accepts(target.fields())
        target.confirm(version=FUTURE_VERSION)
        target.rotate(finish_only=True)
        assert not target.system.accepts(before)


@pytest.mark.parametrize("kind", [JwtKeys, SshKeys])
def test_a_first_rotation_without_a_credential_revokes_nothing_and_waits_for_no_client(started, caplog, kind):
    caplog.set_level("INFO", logger="lessee")
    with started(kind, confirmation_timeout="1h") as target:
        target.put(target.secret_path, note="by an operator")
        path = f"secret/metadata/{target.environment}/{target.system.verifier_secret}"
        target.bao.ask("DELETE", path)
        target.system.confirm(FUTURE_VERSION)
        assert target.rotate(wait=False) is Outcome.ROTATED
        assert target.journal.step is Step.IDLE
        assert target.system.accepts(target.fields())
        assert not [message for message in caplog.messages if message.startswith("old credential")]
        before = target.fields()
        target.rotate()
        assert target.system.accepts(target.fields())
        assert target.system.old_is_revoked(before) is not False
        assert [message for message in caplog.messages if message.startswith("old credential")]


def test_a_kid_that_an_operator_uses_for_another_key_is_refused(started):
    """Verifiers that look a key up by its kid would find one of them, and reject what the other has signed."""
    with started(JwtKeys) as target:
        before = target.fields()
        accepted = keys_of(target.system.first()[1])
        put_accepted(target, jwks=json.dumps({"keys": accepted}))
        text = "jwt/keys: the JWKS has another key of the kid 'by-an-operator'; give the key in the clients' secret"
        with pytest.raises(SystemRefusedError, match=text):
            target.rotate()
        assert keys_of(target.system.accepted()) == accepted
        assert target.fields() == before
        accepted[0]["kid"] = "renamed-by-an-operator"
        put_accepted(target, jwks=json.dumps({"keys": accepted}))
        target.rotate(finish_only=True)
        assert target.system.accepts(target.fields())
        assert accepted[0] in keys_of(target.system.accepted())


def test_an_operator_s_key_with_the_kid_of_the_clients_stays(started):
    with started(JwtKeys) as target:
        (own,), (other,) = (keys_of(accepted) for accepted in (target.system.accepted(), target.system.first()[1]))
        put_accepted(target, jwks=json.dumps({"keys": [own, other]}))
        with project_of(target) as (project, client):
            rotate_immediately(project, "target", client)
        keys = keys_of(target.system.accepted())
        assert other in keys
        assert own not in keys


def test_who_may_write_the_clients_secret_cannot_have_another_user_removed(started):
    with started(BasicAuthUsers) as target:
        guest = bcrypt.hashpw(b"known", bcrypt.gensalt(4)).decode()
        put_accepted(target, guest=guest)
        target.put(target.secret_path, **{**target.fields(), "username": "guest", "password": "known"})
        target.rotate()
        assert target.system.accepted()["guest"] == guest
        assert target.system.accepts(target.fields())


def test_what_an_operator_added_for_the_servers_stays(started):
    with started(SshKeys, options='restrict,pty,environment="A=b c"') as target:
        text = f"# by an operator\n{OPERATORS_LINE}\n"
        put_accepted(target, authorized_keys=text, note="by an operator")
        for _ in range(2):
            target.rotate()
        accepted = target.system.accepted()
        first, *rest = accepted["authorized_keys"].splitlines()
        assert first.startswith('restrict,pty,environment="A=b c" ssh-ed25519 ')
        assert rest == text.splitlines()
        assert accepted["note"] == "by an operator"
        assert target.system.accepts(target.fields())


def test_an_operator_s_users_stay_and_two_users_are_used_in_turn(started):
    with started(BasicAuthUsers) as target:
        put_accepted(target, guest="$apr1$lessee$B2NKFlfQJYNz4NMQuqvmO1")
        users = []
        for _ in range(3):
            before = target.fields()
            target.rotate()
            users.append(target.fields()["username"])
            assert not target.system.accepts(before)
        assert users == ["reporter_b", "reporter_a", "reporter_b"]
        accepted = target.system.accepted()
        assert accepted["guest"] == "$apr1$lessee$B2NKFlfQJYNz4NMQuqvmO1"
        assert accepted["reporter_b"].startswith("$2y$05$")
        assert "reporter_a" not in accepted
        assert bcrypt.checkpw(target.fields()["password"].encode(), accepted["reporter_b"].encode())


def test_a_first_rotation_takes_no_user_of_others_from_the_clients_secret(started):
    """Who may write the clients' secret must not choose the password of another user, nor add lines to htpasswd."""
    with started(BasicAuthUsers) as target:
        guest = "$apr1$lessee$B2NKFlfQJYNz4NMQuqvmO1"
        put_accepted(target, guest=guest)
        for user in ("guest", "x:y\nroot"):
            target.put(target.secret_path, **{**target.fields(), "username": user, "password": "chosen-by-a-client"})
            target.rotate()
            accepted = target.system.accepted()
            assert accepted["guest"] == guest
            assert user == "guest" or user not in accepted
            put_accepted(target, guest=guest)  # Without the mark, the next one is a first rotation too.


def test_a_user_whose_password_an_operator_changed_is_left_and_reported(started, caplog):
    with started(BasicAuthUsers) as target:
        target.rotate()
        own = "$apr1$lessee$B2NKFlfQJYNz4NMQuqvmO1"
        put_accepted(target, **{**target.system.accepted(), "reporter_b": own})
        target.put(target.secret_path, **{**target.fields(), "username": "reporter_a"})
        target.put(target.secret_path, **{**target.fields(), "username": "reporter_b"})
        target.rotate()
        assert target.system.accepted()["reporter_b"] == own
        assert "old credential changed manually and not revoked" in caplog.messages


def test_a_secret_without_the_mark_gets_it_again(started):
    with started(TotpSeeds) as target:
        target.rotate()
        seeds = target.system.accepted()["seeds"]
        put_accepted(target, seeds=[*seeds, "JBSWY3DPEHPK3PXP"])
        target.rotate()
        accepted = target.system.accepted()
        assert "rotation_count" in accepted
        assert accepted["seeds"] == [target.fields()["seed"], "JBSWY3DPEHPK3PXP"]


def test_a_deleted_secret_of_the_servers_is_not_created_again(started):
    with started(SshKeys) as target:
        target.rotate()
        before = target.fields()
        path = f"secret/data/{target.environment}/{target.system.verifier_secret}"
        version = target.metadata(target.system.verifier_secret)["current_version"]
        target.bao.ask("DELETE", path)
        with pytest.raises(SystemRefusedError, match="ssh/servers: the verifiers' secret was deleted; restore it"):
            target.rotate()
        assert target.fields() == before
        target.bao.ask("POST", path.replace("/data/", "/undelete/"), {"versions": [version]})
        target.rotate(finish_only=True)
        assert target.system.accepts(target.fields())


def test_a_token_stays_valid_until_it_expires(started, caplog):
    caplog.set_level("INFO", logger="lessee")
    with started(JwtKeys, token_ttl="2s") as target:
        target.rotate()
        old, system = target.fields(), target.system
        token = sign(old, exp=time.time() + 3600)
        caplog.clear()
        assert target.rotate() is Outcome.ROTATED
        assert target.journal.step is Step.RETAINING
        assert "old credential retained" in caplog.messages
        assert not {"old credential disabled", "old credential revoked"} & {*caplog.messages}
        removed_at = system.accepted()["retired"][old["kid"]]
        assert removed_at < target.journal.delete_at  # A rotation that ends finds that the time has passed.
        assert system.is_valid(token)
        eventually(lambda: time.time() >= removed_at, "the end of its lifetime")
        target.expire_delete_delay()
        target.rotate(finish_only=True)
        assert not system.is_valid(token)
        assert system.accepts(target.fields())
        assert "retired" not in system.accepted()


def test_rotations_within_a_token_s_lifetime_keep_all_keys(started):
    with started(JwtKeys) as target:
        tokens = []
        for _ in range(3):
            target.rotate()
            tokens.append(sign(target.fields()))
        assert all(target.system.is_valid(token) for token in tokens)
        assert len(keys_of(target.system.accepted())) == 4
        assert len(target.system.accepted()["retired"]) == 3


def test_after_a_leak_tokens_of_old_keys_are_invalid_immediately(started):
    with started(JwtKeys) as target:
        tokens = []
        for _ in range(2):
            target.rotate()
            tokens.append(sign(target.fields()))
        target.put(target.secret_path, **target.fields(), note="by a user")
        with project_of(target) as (project, client):
            rotate_immediately(project, "target", client)
        assert not any(target.system.is_valid(token) for token in tokens)
        assert target.system.accepts(target.fields())
        assert len(keys_of(target.system.accepted())) == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not AgeIdentities])
def test_after_a_leak_the_old_credential_ends_although_no_server_and_client_has_confirmed(started, kind):
    with started(kind, confirmation_timeout="1h") as target:
        target.rotate()
        before = target.fields()
        target.system.confirm(1)
        target.confirm(version=1)
        with project_of(target) as (project, client):
            rotate_immediately(project, "target", client)
        assert not target.system.accepts(before)
        assert target.system.accepts(target.fields())
        assert target.journal.step is Step.IDLE


def test_of_several_targets_one_that_waits_for_servers_is_finished_at_the_end(started):
    with started(TotpSeeds, confirmation_timeout="1s", verifiers=[]) as target:
        target.bao.ask("DELETE", f"secret/metadata/{target.environment}/lessee/consumers/{APP}/host-1")
        other = {"kind": "vault", "secret": "auth/jwt", "keys": {"secret": {}}, "confirmation_timeout": "100ms"}
        target.config["rotation"]["other"] = other
        target.write_config()
        environ = {"PATH": os.environ["PATH"], "VAULT_TOKEN": ROOT_TOKEN}
        done = run_lessee("rotate", "--all", cwd=target.folder, env=environ)
        assert done.returncode == 0, done.stderr
        assert [line.split(";")[0] for line in done.stdout.splitlines()] == ["other: rotated", "target: rotated"]
        assert target.fields()["rotation_count"] == 1


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_each_algorithm_signs_what_a_verifier_accepts(started, algorithm):
    with started(JwtKeys, algorithm=algorithm) as target:
        target.rotate()
        assert target.fields()["algorithm"] == algorithm
        key, old = keys_of(target.system.accepted())
        assert old["kid"] == "by-an-operator"
        assert (key["alg"], key["use"], key["kid"]) == (algorithm, "sig", target.fields()["kid"])
        assert target.system.accepts(target.fields())


@pytest.mark.parametrize("jwks", ["no JSON", "[]", '{"keys": 1}', '{"keys": ["one"]}'])
def test_a_jwks_that_is_none_is_reported_and_left(started, jwks):
    with started(JwtKeys) as target:
        put_accepted(target, jwks=jwks)
        with pytest.raises(SystemRefusedError, match="jwt/keys: the key `jwks` is no JWKS in JSON; correct it"):
            target.rotate()
        assert target.system.accepted() == {"jwks": jwks}


def test_a_key_that_a_user_publishes_and_the_servers_accept_takes_precedence(started):
    with started(SshKeys, confirmation_timeout="1h") as target:
        target.rotate()
        target.system.confirm(1)
        target.rotate(wait=False)
        pending = target.journal.pending["public_key"]
        own, accepted = target.system.generate(), target.system.accepted()
        text = f"{own['public_key']}\n{accepted['authorized_keys']}"
        put_accepted(target, **{**accepted, "authorized_keys": text})
        target.put(target.secret_path, **{**target.fields(), **own})
        target.system.confirm(FUTURE_VERSION)
        target.rotate(finish_only=True)
        assert target.fields()["private_key"] == own["private_key"]
        assert pending.split()[1] not in target.system.accepted()["authorized_keys"]
        assert target.system.accepts(target.fields())


def test_an_old_key_that_a_user_publishes_again_stays_and_the_new_one_is_removed(started):
    with started(SshKeys, confirmation_timeout="1h") as target:
        target.rotate()
        old = target.fields()
        target.confirm(version=1)
        target.rotate(wait=False)
        new = target.fields()
        target.put(target.secret_path, **old)
        target.confirm(version=FUTURE_VERSION)
        target.rotate(finish_only=True)
        assert target.fields()["private_key"] == old["private_key"]
        assert target.system.accepts(old)
        assert not target.system.accepts(new)


def test_an_unusable_key_in_the_secret_is_replaced(started):
    with started(SigningKeys) as target:
        first = target.fields()["public_key"]
        target.put(target.secret_path, private_key="-----BEGIN PRIVATE KEY-----\nno key\n", rotation_count=0)
        target.rotate()
        assert target.system.accepts(target.fields())
        assert target.system.orphans(target.fields()) == {first}  # Whose key it was, lessee cannot know.


def test_an_old_identity_still_decrypts_what_was_encrypted_for_it(started):
    with started(AgeIdentities, delete_delay=None) as target:
        archives = []
        for _ in range(3):
            target.rotate()
            archives.append(target.system.encrypt(target.fields()))
        assert all(target.system.decrypts(archive) for archive in archives)
        assert "AGE-SECRET-KEY" not in str(target.fields())


def test_an_identity_that_is_elsewhere_is_not_lost(started):
    with started(AgeIdentities) as target:
        recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
        target.put(target.secret_path, recipient=recipient, rotation_count=0)
        text = "backup/identities: it lacks the identity of the recipient; add it there"
        with pytest.raises(SystemRefusedError, match=text):
            target.rotate()
        assert target.fields()["recipient"] == recipient


@pytest.mark.parametrize("kind", KINDS)
def test_the_rotator_s_policy_is_enough(started, kind):
    with started(kind) as target:
        environ = {"VAULT_TOKEN": ROOT_TOKEN}
        config = read(target.folder / "lessee.yaml", environ, blocks=("rotation",))
        assert isinstance(config.rotation["target"], VerifiedTarget)
        target.bao.ask("PUT", f"sys/policies/acl/{target.environment}", {"policy": of_rotator("rotator", config)})
        body = {"policies": [target.environment], "ttl": "1h"}
        token = target.bao.ask("POST", "auth/token/create", body)["auth"]["client_token"]
        command = ("rotate", "target", "--force")
        where = {"cwd": target.folder, "env": {"PATH": os.environ["PATH"], "VAULT_TOKEN": token}}
        tried = run_lessee(*command, "--dry-run", **where)
        assert tried.returncode == 0, tried.stderr
        done = run_lessee(*command, **where)
        assert done.returncode == 0, done.stderr
        assert target.system.accepts(target.fields())
        assert "AGE-SECRET-KEY" not in tried.stdout + tried.stderr + done.stdout + done.stderr
        for key in {"private_key", "seed", "password"} & target.fields().keys():
            assert target.fields()[key] not in tried.stdout + tried.stderr + done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_rotation_of_what_works_warns_of_nothing(started, kind, caplog):
    with started(kind) as target:
        assert target.rotate() is Outcome.ROTATED
    assert caplog.messages == []


def test_at_the_first_rotation_other_servers_may_report_later_than_the_first(started):
    with started(SshKeys, verifiers=[], confirmation_timeout="1h") as target:
        assert target.rotate(wait=False) is Outcome.WAITING
        target.config["rotation"]["target"]["confirmation_timeout"] = "100ms"
        target.write_config()
        assert target.rotate(finish_only=True) is Outcome.ROTATED
        target.config["rotation"]["target"]["confirmation_timeout"] = "1h"
        target.write_config()
        assert target.rotate(wait=False) is Outcome.ROTATED


@pytest.mark.parametrize("kind", [BasicAuthUsers, JwtKeys, SigningKeys, SshKeys, TotpSeeds])
def test_what_an_operator_removed_before_the_publication_is_added_again(started, kind):
    with started(kind, confirmation_timeout="1h") as target:
        target.rotate()
        before = target.system.accepted()
        target.system.confirm(1)
        assert target.rotate(wait=False) is Outcome.WAITING
        put_accepted(target, **before)
        target.system.confirm(FUTURE_VERSION)
        assert target.rotate(finish_only=True) is Outcome.ROTATED
        assert target.system.accepts(target.fields())
        assert target.fields()["rotation_count"] == 2
        assert target.system.orphans(target.fields()) == set()


def test_an_identity_that_an_operator_removed_before_the_publication_is_not_published(started):
    with started(AgeIdentities, confirmation_timeout="1h") as target:
        target.rotate()
        published, before = target.fields(), target.system.accepted()
        target.system.confirm(1)
        assert target.rotate(wait=False) is Outcome.WAITING
        put_accepted(target, **before)
        target.system.confirm(FUTURE_VERSION)
        with pytest.raises(SystemRefusedError, match="the system rejects the new credential"):
            target.rotate(finish_only=True)
        assert target.fields() == published
        assert target.rotate() is Outcome.ROTATED
        assert target.system.accepts(target.fields())
        assert target.system.orphans(target.fields()) == set()


def test_a_rotation_that_was_interrupted_for_long_gives_the_servers_their_time(started):
    with started(TotpSeeds, confirmation_timeout="5m") as target:
        target.rotate()
        before = target.fields()
        target.system.confirm(1)
        for call_index in count():
            assert target.rotate_and_kill(call_index, after=False)
            if target.journal.step is Step.CREATED:
                break
        assert target.journal.pending["seed"] not in target.system.accepted()["seeds"]
        target.change_journal(started_at=time.time() - 3600.0)
        assert target.rotate(finish_only=True, wait=False) is Outcome.WAITING
        assert target.rotate(finish_only=True, wait=False) is Outcome.WAITING
        assert target.fields() == before
        target.system.confirm(FUTURE_VERSION)
        assert target.rotate(finish_only=True) is Outcome.ROTATED


def test_an_identity_with_a_delay_is_removed_after_it(started):
    with started(AgeIdentities, delete_delay="1s") as target:
        target.rotate()
        old = target.fields()
        archive = target.system.encrypt(old)
        target.rotate()
        assert target.journal.step is Step.RETAINING
        assert target.system.decrypts(archive)
        removed_at = target.system.accepted()["retired"][old["recipient"]]
        eventually(lambda: time.time() >= removed_at, "the end of its delay")
        target.expire_delete_delay()
        target.rotate(finish_only=True)
        assert target.journal.step is Step.IDLE
        assert not target.system.decrypts(archive)
        assert target.system.orphans(target.fields()) == set()
