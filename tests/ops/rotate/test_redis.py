"""Passwords of Redis' ACL users: they leak nowhere, and survive a restart of Redis."""

import secrets
import signal
import socket
from contextlib import closing, contextmanager, suppress
from functools import wraps
from itertools import count
from types import MappingProxyType

import pytest
import redis

from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import RotationTarget, sampled_calls
from support.servers.certificate_authority import Authority
from support.servers.redis_server import Redis
from support.systems.redis import ADMIN, RIGHTS, AclUser, hash_of


@pytest.fixture(scope="module")
def new_user(tmp_path_factory):
    with AclUser.started(tmp_path_factory.mktemp("redis")) as new:
        yield new


@pytest.fixture
def user(new_user):
    return new_user()


@pytest.fixture
def target(bao, tmp_path, user):
    return RotationTarget(bao, tmp_path, user)


@pytest.fixture
def server(tmp_path):
    """A server that a test may break."""
    with Redis(tmp_path, acl=[f"user {ADMIN} on >admins {RIGHTS}"]) as server:
        yield server


@pytest.fixture
def breakable(bao, tmp_path, server):
    return RotationTarget(bao, tmp_path, AclUser(server, "admins"))


def restart(server):
    server.stop()
    server.start()


@contextmanager
def monitored(server):
    """A list that has the output of MONITOR when this context ends."""
    output = []
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as monitor:
        monitor.sendall(f"AUTH {server.password}\r\nMONITOR\r\n".encode())
        while not b"".join(output).startswith(b"+OK\r\n+OK\r\n"):
            output.append(monitor.recv(1 << 16))
        yield output
        server.ask("ECHO", "end of output")
        while b"end of output" not in b"".join(output[-2:]):
            output.append(monitor.recv(1 << 16))


def test_the_new_password_is_nowhere_in_plain_text(target, user, caplog):
    caplog.set_level("DEBUG")
    server, old = user.server, target.fields()["password"]
    server.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
    with monitored(server) as output:
        assert target.rotate_and_kill(3, after=False)  # Recorded, but unknown to Redis, which rejects the login.
        target.recover()
        target.rotate()
    monitor = b"".join(output)
    assert b'"AUTH" "(redacted)"' in monitor
    new = target.fields()["password"]
    texts = [server.log.read_bytes(), server.aclfile.read_bytes(), monitor, caplog.text.encode()]
    texts += [repr(server.ask(*words)).encode() for words in (("ACL", "LOG"), ("SLOWLOG", "GET", "1000"))]
    assert hash_of(new).encode() in server.aclfile.read_bytes()
    assert user.user in texts[-2].decode()  # It has the rejected login.
    assert b"SETUSER" in texts[-1]
    for password in (old, new):
        assert not any(password.encode() in text for text in texts)


def test_open_connections_stay_open(target, user):
    old = target.fields()["password"]
    with redis.Redis(port=user.server.port, username=user.user, password=old, single_connection_client=True) as client:
        client.set("app:x", "1")
        connection = client.connection._sock
        target.rotate()
        target.rotate()
        assert client.get("app:x") == b"1"
        assert client.connection._sock is connection


def test_both_passwords_work_until_all_consumers_have_confirmed(bao, tmp_path, user):
    target = RotationTarget(bao, tmp_path, user, consumers=["simba"], confirmation_timeout="1h")
    before = target.fields()
    assert target.rotate(wait=False) is Outcome.ROTATED
    assert user.accepts(before)
    assert user.accepts(target.fields())
    target.confirm()
    target.rotate(finish_only=True)
    assert not user.accepts(before)


def test_a_missing_username_is_published(target, user, caplog):
    fields = target.fields()
    del fields["username"]
    target.put(target.secret_path, **fields)
    user.server.ask("ACL", "SETUSER", user.user, "resetpass", f">{secrets.token_hex(8)}")
    target.rotate()
    assert target.fields()["username"] == user.user
    assert user.accepts(target.fields())
    [fields] = [record.fields for record in caplog.records if record.getMessage() == "old password not revoked"]
    assert fields["user"] == "default"


def test_who_may_write_the_secret_gets_no_login_as_another_user(target, user, new_user):
    other = new_user()
    before, hashes = target.fields(), other.hashes()
    for name in (other.user, "default", ADMIN):
        target.put(target.secret_path, **{**before, "username": name})
        with pytest.raises(LesseeError, match=f"the username in the secret is not {user.user}; correct `user`, or the"):
            target.rotate()
    assert other.hashes() == hashes
    assert user.hashes() == {hash_of(before["password"])}


def test_unknown_passwords_stay_valid_and_are_logged(target, user, caplog):
    manual = secrets.token_hex(8)
    user.server.ask("ACL", "SETUSER", user.user, f">{manual}")
    target.rotate()
    assert user.hashes() == {hash_of(manual), hash_of(target.fields()["password"])}
    [fields] = [record.fields for record in caplog.records if record.getMessage() == "unknown passwords not revoked"]
    assert fields["hashes"] == [hash_of(manual)[:16]]
    assert f"ACL SETUSER {user.user} !HASH" in fields["todo"]


def test_a_password_that_a_user_has_replaced_is_removed(target, user):
    target.rotate()
    before, manual = target.fields(), secrets.token_hex(8)
    user.server.ask("ACL", "SETUSER", user.user, f">{manual}")
    target.put(target.secret_path, **{**before, "password": manual})
    target.rotate()
    assert user.hashes() == {hash_of(target.fields()["password"])}


def test_an_abandoned_password_is_removed_from_its_own_user(target, user, new_user):
    """A user has published another ACL user during the rotation: the first one keeps no pending password."""
    before = target.fields()
    for call_index in count():
        assert target.rotate_and_kill(call_index, after=True)
        if user.hashes() != {hash_of(before["password"])}:
            break
    other = new_user()
    edited = {**before, **other.secrets()["cache/redis"]}
    target.put(target.secret_path, **edited)
    target.rotate(finish_only=True)
    assert target.fields() == edited
    assert user.hashes() == {hash_of(before["password"])}
    assert other.hashes() == {hash_of(edited["password"])}


def test_a_password_changed_only_in_redis_is_replaced(target, user):
    """No published password works then: the admin sets a new one."""
    user.server.ask("ACL", "SETUSER", user.user, "resetpass", f">{secrets.token_hex(8)}")
    target.rotate()
    assert user.accepts(target.fields())


FAULTS = [(fault, after) for fault in ("stopped", "restarted") for after in (False, True)]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fault", "after"), FAULTS, ids=[f"{fault}-{'after' if after else 'before'}" for fault, after in FAULTS]
)
def test_the_published_password_works_after_a_restart_of_redis_at_any_step(breakable, fault, after, monkeypatch):
    """Redis is killed, and keeps only what it has saved. It stays down, or starts again immediately."""
    server = breakable.system.server
    for call_index in sampled_calls(f"{fault} {after}", of=3, least=8):
        with monkeypatch.context() as patched:
            reached = _kill_at(patched, server, call_index, after=after, restart=fault == "restarted")
            with suppress(SystemUnavailableError, SystemRefusedError):
                breakable.rotate()
        if not reached:
            break
        if fault == "stopped":
            server.start()
        assert breakable.system.accepts(breakable.fields())
        breakable.recover()
        restart(server)
        fields = breakable.fields()
        assert breakable.system.accepts(fields)
        assert breakable.system.orphans(fields) == set()
    assert call_index >= 8


def _kill_at(patched, server, call_index, *, after, restart):
    """Kill Redis at lessee's command of this index. Returns a list that is not empty after that."""
    inner, left, reached = redis.Redis.execute_command, count(call_index, -1), []

    def kill():
        reached.append(call_index)
        server.stop()
        if restart:
            server.start()

    @wraps(inner)
    def call(client, *words, **settings):
        own = client.connection_pool.connection_kwargs.get("username") is None
        here = not own and next(left) == 0
        if here and not after:
            kill()
        answer = inner(client, *words, **settings)
        if here and after:
            kill()
        return answer

    patched.setattr(redis.Redis, "execute_command", call)
    return reached


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_published_password_works_after_a_kill_of_both_at_any_step(breakable, after):
    """The rotator is killed, and another continues until it has published; then Redis is killed."""
    block, server = breakable.config["rotation"]["target"], breakable.system.server
    breakable._calls = breakable.system.calls
    block.update(consumers=["simba"], confirmation_timeout="1h")
    breakable.write_config()
    for call_index in sampled_calls(f"both {after}", of=2, least=5):
        if not breakable.rotate_and_kill(call_index, after=after, wait=False):
            break
        breakable.rotate(finish_only=True, wait=False)
        restart(server)
        assert breakable.system.accepts(breakable.fields())
        breakable.confirm()
        breakable.rotate(finish_only=True)
        assert breakable.journal.step is Step.IDLE
    assert call_index >= 5


def test_a_hanging_redis_counts_as_unavailable(breakable):
    before, process = breakable.fields(), breakable.system.server.process
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(
            SystemUnavailableError, match=r"^127.0.0.1:\d+: Redis does not answer \(TimeoutError\); check that it"
        ):
            breakable.rotate()
    finally:
        process.send_signal(signal.SIGCONT)
    assert breakable.fields() == before
    breakable.recover()
    assert breakable.fields()["rotation_count"] == 1


def _user(words):
    return lambda target: target.system.server.ask("ACL", "SETUSER", target.system.user, *words)


def _admin(**fields):
    return lambda target: target.put("cache/admin", **{**target.fields("cache/admin"), **fields})


def _secret(**fields):
    return lambda target: target.put("cache/redis", **{**target.fields(), **fields})


def _without(*words):
    return lambda target: target.system.server.ask("ACL", "SETUSER", ADMIN, *words)


def _delete_user(target):
    target.system.server.ask("ACL", "DELUSER", target.system.user)


def _other_user(target, name="another"):
    target.config["rotation"]["target"]["user"] = name
    target.write_config()


def _user_of_the_admin(target):
    target.put("cache/redis", **{**target.fields(), "username": ADMIN})
    _other_user(target, ADMIN)


def _block_aclfile(target):
    aclfile = target.system.server.aclfile
    aclfile.unlink()
    aclfile.mkdir()


@pytest.mark.parametrize(
    ("breaks", "text"),
    [
        (_delete_user, "the ACL user does not exist; create it: ACL SETUSER app-"),
        (_user(["nopass"]), "the ACL user accepts any password; set a password: ACL SETUSER app-"),
        (_user(["off"]), "the ACL user is disabled; enable it: ACL SETUSER app-"),
        (_admin(password="wrong"), "Redis rejects the admin's login; correct username and password in the admin's"),
        (
            _without("-acl|setuser"),
            f"the admin lacks permissions; grant them: ACL SETUSER {ADMIN} +acl|getuser +acl|setu",
        ),
        (_without("-acl|getuser"), f"the admin lacks permissions; grant them: ACL SETUSER {ADMIN} +acl|getuser"),
        (_without("-acl|save"), f"the admin lacks permissions; grant them: ACL SETUSER {ADMIN} +acl|getuser"),
        (
            _user_of_the_admin,
            f"cache/admin: the admin is {ADMIN} too, and would revoke its own login; give the admin its own user",
        ),
        (_secret(host=""), "cache/redis: the secret lacks host; write it with all of host, port, password"),
        (_admin(host=""), "cache/admin: the secret lacks host"),
        (_secret(host="x" * 70), "Redis rejects the request (Unicode"),
        (_secret(db=99), "Redis rejects the request (ResponseError); check that it is Redis 6 or later, and `host`"),
        (_secret(tls="true", ca_file="/missing/ca.pem"), "/missing/ca.pem: the secret's ca_file does not exist"),
        (_other_user, "cache/redis: the username in the secret is not another; correct `user`, or the"),
        (_block_aclfile, "Redis cannot write its aclfile; check that Redis may write the file and its directory"),
    ],
)
def test_an_obstacle_is_reported_and_the_published_password_stays(breakable, breaks, text):
    breaks(breakable)
    before = breakable.fields()
    with pytest.raises(LesseeError) as caught:
        breakable.rotate()
    assert text in str(caught.value)
    assert breakable.fields() == before
    values = {before["password"], breakable.journal.pending.get("password", before["password"])}
    assert not any(value in str(caught.value) for value in values)


def test_after_the_obstacle_the_same_rotation_continues(breakable):
    server = breakable.system.server
    server.ask("ACL", "SETUSER", ADMIN, "-acl|save")
    with pytest.raises(SystemRefusedError):
        breakable.rotate()
    recorded = breakable.journal.pending["password"]
    server.ask("ACL", "SETUSER", ADMIN, "+acl|save")
    breakable.recover()
    assert breakable.fields()["password"] == recorded


@pytest.fixture
def plain(bao, tmp_path):
    """Without an aclfile: the default user of a configuration file."""
    with Redis(tmp_path) as server:
        server.ask("ACL", "SETUSER", ADMIN, "on", ">admins", *RIGHTS.split(), "+config|rewrite")
        yield RotationTarget(bao, tmp_path, _DefaultUser(server))


class _DefaultUser:
    calls = ()
    target = MappingProxyType(
        {"kind": "redis", "secret": "cache/redis", "admin_secret": "cache/admin", "user": "default"}
    )

    def __init__(self, server):
        self.server = server

    def secrets(self):
        place = {"host": "127.0.0.1", "port": self.server.port}
        return {
            "cache/redis": {**place, "password": self.server.password},
            "cache/admin": {**place, "username": ADMIN, "password": "admins"},
        }

    def accepts(self, fields):
        with redis.Redis(port=self.server.port, password=fields["password"]) as client:
            try:
                return client.ping()
            except redis.exceptions.AuthenticationError:
                return False


def test_the_default_user_of_a_configuration_file_is_rotated_too(plain):
    server, before = plain.system.server, plain.fields()
    plain.rotate()
    fields = plain.fields()
    assert "username" not in fields
    server.log_in(fields["password"])
    restart(server)
    assert plain.system.accepts(fields)
    assert not plain.system.accepts(before)


def test_a_default_user_without_a_password_is_rejected(plain):
    plain.system.server.ask("ACL", "SETUSER", "default", "nopass")
    with pytest.raises(SystemRefusedError, match="accepts any password; set a password: ACL SETUSER default resetpass"):
        plain.rotate()


def test_without_an_aclfile_a_warning_is_logged_and_the_password_set_again(plain, caplog):
    server, block = plain.system.server, plain.config["rotation"]["target"]
    server.stop()
    options = {"port": server.port, "bind": "127.0.0.1", "requirepass": server.password, "save": ""}
    users = ["--user", ADMIN, "on", ">admins", *RIGHTS.split(), "+config|rewrite"]
    server.command[1:] = [*(word for key, value in options.items() for word in (f"--{key}", str(value))), *users]
    server.start()
    block.update(consumers=["simba"], confirmation_timeout="1h")
    plain.write_config()
    assert plain.rotate(wait=False) is Outcome.ROTATED
    assert "password lost at a restart of Redis" in caplog.text
    restart(server)
    assert not plain.system.accepts(plain.fields())
    plain.confirm()
    plain.rotate(finish_only=True)
    assert plain.system.accepts(plain.fields())


def test_the_certificate_of_redis_is_verified(bao, tmp_path):
    pair, ca, other = (tmp_path / name for name in ("pair.pem", "ca.pem", "other.pem"))
    Authority(ca).issue(pair, 1)
    Authority(other)
    with Redis(tmp_path, pair=pair, acl=[f"user {ADMIN} on >admins {RIGHTS}"]) as server:
        target = RotationTarget(bao, tmp_path, AclUser(server, "admins"))
        secured = {"port": server.tls_port, "tls": True, "ca_file": str(ca)}
        for path in ("cache/redis", "cache/admin"):
            target.put(path, **{**target.fields(path), **secured})
        target.rotate()
        assert target.system.accepts(target.fields())
        target.put("cache/admin", **{**target.fields("cache/admin"), "ca_file": str(other)})
        with pytest.raises(SystemUnavailableError, match="Redis does not answer"):
            target.rotate()
