"""The rotation of RabbitMQ's users, in addition to the contract of all kinds."""

import json
from contextlib import suppress
from urllib.parse import quote

import pika
import pytest

from lessee.core.errors import LesseeError
from lessee.host import http_client
from lessee.host.openbao import free_port
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.kinds.rabbitmq import BrokerUsers as Kind
from lessee.ops.rotate.policy.decision import Outcome
from support.environments.rotation_targets import RotationTarget
from support.programs.sidecar import eventually
from support.servers.certificate_authority import Authority
from support.servers.fault_proxy import Proxy, Status
from support.servers.rabbitmq import ADMIN, Rabbitmq
from support.systems.rabbitmq import PASSWORD, BrokerUsers, OneUser


@pytest.fixture
def new(bao, rabbitmq, tmp_path):
    return lambda kind=BrokerUsers, **settings: RotationTarget(bao, tmp_path, kind(rabbitmq, **settings))


def part(name):
    return quote(name, safe="")


def permissions(rabbitmq, user):
    found = []
    for name in ("permissions", "topic-permissions"):
        found += [dict(one, user="") for one in rabbitmq.ask("GET", f"users/{part(user)}/{name}")]
    return sorted(found, key=json.dumps)


def test_each_rotation_s_user_has_the_permissions_and_tags_of_the_one_before(new, rabbitmq):
    target = new()
    user, vhost = target.system.user, f"shop/{target.environment}"
    rabbitmq.ask("PUT", f"vhosts/{part(vhost)}")
    rabbitmq.ask("PUT", f"permissions/{part(vhost)}/{part(user)}", {"configure": "^$", "write": "^a", "read": ".*"})
    for exchange in ("amq.topic", "events"):
        body = {"exchange": exchange, "write": "^a", "read": "^b"}
        rabbitmq.ask("PUT", f"topic-permissions/{part(vhost)}/{part(user)}", body)
    before, names = permissions(rabbitmq, user), {user}
    assert len(before) == 4
    for _ in range(3):
        target.rotate()
        name = target.fields()["username"]
        names.add(name)
        assert name.startswith(f"{user}-")
        assert permissions(rabbitmq, name) == before
        assert rabbitmq.users()[name]["tags"] == ["monitoring"]
    assert len(names) == 4


def test_a_user_that_the_secret_names_gives_no_permissions_without_its_password(new, rabbitmq):
    """Who may write the secret would get the tags and permissions of any user, also of an administrator."""
    target = new()
    other, before = f"of-others-{target.environment}", target.fields()
    rabbitmq.add_user(other, "of-others", "administrator", **{"/": (".*", ".*", ".*")})
    target.put(target.secret_path, **{**before, "username": other})
    with pytest.raises(SystemRefusedError, match=f"{other} is not of `user`, and has another password"):
        target.rotate()
    assert not [user for user in rabbitmq.users() if user.startswith(f"{target.system.user}-")]
    target.put(target.secret_path, **{**before, "username": other, "password": "of-others"})
    target.rotate()
    assert permissions(rabbitmq, target.fields()["username"]) == permissions(rabbitmq, other)


def test_the_name_alone_makes_no_user_one_of_the_target_s_own(new, rabbitmq):
    """Another environment may have the same `user` on the same broker, and a date is eight digits too."""
    target = new(delete_delay="0s")
    for suffix in ("0a1b2c3d", "20260101"):
        other = f"{target.system.user}-{suffix}"
        rabbitmq.add_user(other, "of-others", "administrator", **{"/": (".*", ".*", ".*")})
        published = target.fields()
        target.put(target.secret_path, **{**published, "username": other})
        with pytest.raises(SystemRefusedError, match="is not of `user`, and has another password"):
            target.rotate()
        assert target.system.accepts({**published, "username": other, "password": "of-others"})
        target.put(target.secret_path, **published)
        assert target.rotate() is Outcome.ROTATED
        assert other in rabbitmq.users()


def test_the_old_user_keeps_its_connections_until_it_is_deleted(new, rabbitmq):
    target = new()
    before = target.fields()
    connection = target.system.connect(before)
    target.rotate()
    assert not target.system.accepts(before)
    connection.channel().queue_declare("shop.orders", auto_delete=True)
    assert before["username"] in rabbitmq.users()
    target.expire_delete_delay()
    target.rotate(finish_only=True)
    assert before["username"] not in rabbitmq.users()

    def is_closed():
        with suppress(pika.exceptions.AMQPError):
            connection.process_data_events(0)
        return connection.is_closed

    eventually(is_closed, "the end of the connection")


def test_both_users_work_until_all_consumers_have_confirmed(new):
    target = new(consumers=["simba"], confirmation_timeout="1h")
    before = target.fields()
    assert target.rotate(wait=False) is Outcome.ROTATED
    assert target.system.accepts(before)
    assert target.system.accepts(target.fields())
    target.confirm()
    target.rotate(finish_only=True)
    assert not target.system.accepts(before)


def test_one_user_keeps_its_name_and_its_permissions(new, rabbitmq, caplog):
    target = new(OneUser)
    before = permissions(rabbitmq, target.system.user)
    target.rotate()
    assert target.fields()["username"] == target.system.user
    assert permissions(rabbitmq, target.system.user) == before
    assert "password change interrupts logins" in caplog.messages


def test_the_first_rotation_does_not_revoke_a_user_of_another_name(new, rabbitmq, caplog):
    target = new(delete_delay="0s")
    other = {**target.fields(), "username": f"other {target.environment}"}
    rabbitmq.add_user(other["username"], other["password"], **{"/": ("", "^a", "^b")})
    target.put(target.secret_path, **other)
    target.rotate()
    assert permissions(rabbitmq, target.fields()["username"]) == permissions(rabbitmq, other["username"])
    assert target.system.accepts(other)
    assert "old user not revoked" in caplog.messages


def test_a_deleted_user_is_reported(new, rabbitmq):
    target = new()
    rabbitmq.ask("DELETE", f"users/{part(target.system.user)}")
    with pytest.raises(SystemRefusedError, match="the published user does not exist"):
        target.rotate()
    other = new(OneUser)
    rabbitmq.ask("DELETE", f"users/{part(other.system.user)}")
    with pytest.raises(SystemRefusedError, match="does not exist; rabbitmqctl add_user"):
        other.rotate()


def test_a_working_credential_that_a_user_writes_during_the_rotation_stays(new, rabbitmq, monkeypatch):
    target = new()
    edited = {**target.fields(), "password": "manual"}
    inner, done = Kind.apply, []

    def apply(self, case):
        inner(self, case)
        if not done:
            done.append(True)
            rabbitmq.ask("PUT", f"users/{part(target.system.user)}", {"password": "manual", "tags": ""})
            target.put(target.secret_path, **edited)

    monkeypatch.setattr(Kind, "apply", apply)
    target.rotate()
    assert target.fields(version=target.metadata()["current_version"] - 1) == edited
    assert target.system.accepts(target.fields())
    assert target.system.orphans(target.fields()) == set()


def test_the_new_password_is_nowhere_in_plain_text(new, rabbitmq, caplog):
    caplog.set_level("DEBUG")
    target = new()
    for _ in range(2):
        target.rotate()
    password, log = target.fields()["password"], rabbitmq.log.read_text()
    assert target.fields()["username"] in log
    assert password not in log
    assert password not in caplog.text


def test_the_admin_s_own_user_is_never_rotated(new):
    target = new()
    target.put(target.secret_path, **{**target.fields(), "username": ADMIN})
    with pytest.raises(SystemRefusedError, match="the admin's user is the one that is rotated"):
        target.rotate()


def test_an_admin_without_its_tag_is_reported_with_the_command_that_sets_it(new, rabbitmq):
    target = new()
    rabbitmq.add_user(f"weak {target.environment}", PASSWORD, "monitoring")
    admin = target.fields("queue/admin")
    target.put("queue/admin", **{**admin, "username": f"weak {target.environment}", "password": PASSWORD})
    with pytest.raises(SystemRefusedError, match=r"status 40[13]; .* rabbitmqctl set_user_tags"):
        target.rotate()
    target.put("queue/admin", **{**admin, "password": "mistyped"})
    with pytest.raises(SystemRefusedError, match="answers GET users with status 401"):
        target.rotate()
    assert target.system.accepts(target.fields())


def test_a_user_that_may_not_use_the_virtual_host_is_reported(new, rabbitmq):
    target = new()
    rabbitmq.ask("DELETE", f"permissions/%2F/{part(target.system.user)}")
    with pytest.raises(SystemRefusedError, match="can log in, but not use the virtual host /"):
        target.rotate()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_management_api_that_fails_is_asked_again_later(new, rabbitmq, status):
    target = new()
    with Proxy(rabbitmq.api_port) as proxy:
        proxy.on_path("api/users", Status(status))
        target.put("queue/admin", **{**target.fields("queue/admin"), "url": proxy.address})
        with pytest.raises(SystemUnavailableError, match=f"with status {status}"):
            target.rotate()
        proxy.clear()
        target.recover()
    assert target.system.orphans(target.fields()) == set()


@pytest.mark.thorough
def test_tls_is_verified_by_the_ca_in_the_secret(bao, tmp_path, tmp_path_factory):
    authority, pair = Authority(tmp_path / "ca.pem"), tmp_path / "pair.pem"
    authority.issue(pair, 30)
    Authority(tmp_path / "other.pem")
    port, api_port = free_port(), free_port()
    files = {"cacertfile": tmp_path / "ca.pem", "certfile": pair, "keyfile": pair}
    settings = {"listeners.ssl.default": f"127.0.0.1:{port}", "management.ssl.port": api_port}
    for name, file in files.items():
        settings |= {f"ssl_options.{name}": file, f"management.ssl.{name}": file}
    with Rabbitmq(tmp_path_factory.mktemp("tls"), settings) as server:
        target = RotationTarget(bao, tmp_path, BrokerUsers(server))
        for ca, error in (("other.pem", "CERTIFICATE_VERIFY_FAILED|certificate"), ("ca.pem", "")):
            files = {"ca_file": str(tmp_path / ca)}
            admin = {"url": f"https://127.0.0.1:{api_port}", **files}
            target.put("queue/admin", **{**target.fields("queue/admin"), **admin})
            target.put(target.secret_path, **{**target.fields(), "port": port, "tls": True, **files})
            if error:
                with pytest.raises(SystemUnavailableError, match=error):
                    target.rotate()
        target.rotate()
        assert target.fields()["username"].startswith(f"{target.system.user}-")
        assert target.system.accepts(target.fields())


@pytest.mark.thorough
def test_a_broker_that_stops_during_a_rotation_loses_nothing(bao, tmp_path, tmp_path_factory, monkeypatch):
    with Rabbitmq(tmp_path_factory.mktemp("stopped")) as server:
        target = RotationTarget(bao, tmp_path, BrokerUsers(server))
        for name in ("create", "apply"):
            inner = getattr(Kind, name)
            with monkeypatch.context() as patched:
                patched.setattr(Kind, name, lambda self, case, inner=inner: (inner(self, case), server.stop())[0])
                with pytest.raises(SystemUnavailableError, match="does not answer"):
                    target.rotate()
            server.start()
            target.recover()
            assert target.system.orphans(target.fields()) == set()


def test_a_broker_that_does_not_answer_is_unavailable(new):
    target = new()
    target.put(target.secret_path, **{**target.fields(), "port": 1})
    with pytest.raises(SystemUnavailableError, match=r"RabbitMQ does not answer at 127\.0\.0\.1:1 \(Connection ref"):
        target.rotate()


def test_a_process_that_was_suspended_sends_nothing_after_its_time(new, monkeypatch):
    """What it would send may be older than what others have published since."""
    target, sent = new(), []
    monkeypatch.setattr(http_client, "request", lambda *arguments, **_: sent.append(arguments))
    monkeypatch.setattr("lessee.ops.rotate.kinds.rabbitmq._STEP_TIMEOUT", 0.0)
    with pytest.raises(LesseeError, match="takes too long"):
        target.rotate()
    assert sent == []
