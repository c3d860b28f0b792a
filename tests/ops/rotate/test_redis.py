"""Passwords of Redis' ACL users: known to nobody but who needs them, and never lost with a restart."""

import secrets
import signal
import socket
from contextlib import closing, contextmanager, suppress
from functools import wraps
from itertools import count

import pytest
import redis

from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import Rotated
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
def rotated(bao, tmp_path, user):
    return Rotated(bao, tmp_path, user)


@pytest.fixture
def server(tmp_path):
    """One that a test may break."""
    with Redis(tmp_path, acl=[f"user {ADMIN} on >admins {RIGHTS}"]) as server:
        yield server


@pytest.fixture
def breakable(bao, tmp_path, server):
    return Rotated(bao, tmp_path, AclUser(server, "admins"))


def restart(server):
    server.stop()
    server.start()


@contextmanager
def monitored(server):
    """All that MONITOR shows meanwhile is in the list, once this has ended."""
    seen = []
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as watcher:
        watcher.sendall(f"AUTH {server.password}\r\nMONITOR\r\n".encode())
        while not b"".join(seen).startswith(b"+OK\r\n+OK\r\n"):
            seen.append(watcher.recv(1 << 16))
        yield seen
        server.ask("ECHO", "that is all")
        while b"that is all" not in b"".join(seen[-2:]):
            seen.append(watcher.recv(1 << 16))


def test_the_new_password_is_nowhere_in_clear(rotated, user, caplog):
    caplog.set_level("DEBUG")
    server, old = user.server, rotated.fields()["password"]
    server.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
    with monitored(server) as seen:
        assert rotated.killed(3, after=False)  # Noted, and unknown to Redis: the login with it is refused.
        rotated.recover()
        rotated.rotate()
    said = b"".join(seen)
    assert b'"AUTH" "(redacted)"' in said
    new = rotated.fields()["password"]
    shown = [server.log.read_bytes(), server.aclfile.read_bytes(), said, caplog.text.encode()]
    shown += [repr(server.ask(*words)).encode() for words in (("ACL", "LOG"), ("SLOWLOG", "GET", "1000"))]
    assert hash_of(new).encode() in server.aclfile.read_bytes()
    assert user.user in shown[-2].decode()  # It tells of the login that was refused.
    assert b"SETUSER" in shown[-1]
    for password in (old, new):
        assert not any(password.encode() in text for text in shown)


def test_open_connections_go_on(rotated, user):
    old = rotated.fields()["password"]
    with redis.Redis(port=user.server.port, username=user.user, password=old, single_connection_client=True) as client:
        client.set("app:x", "1")
        connection = client.connection._sock
        rotated.rotate()
        rotated.rotate()
        assert client.get("app:x") == b"1"
        assert client.connection._sock is connection


def test_both_passwords_work_until_all_have_the_new_one(bao, tmp_path, user):
    rotated = Rotated(bao, tmp_path, user, consumers=["simba"], confirmation_timeout="1h")
    before = rotated.fields()
    assert rotated.rotate(wait=False) is Outcome.ROTATED
    assert user.lets_in(before)
    assert user.lets_in(rotated.fields())
    rotated.confirm()
    rotated.rotate(finish_only=True)
    assert not user.lets_in(before)


def test_a_username_is_published_where_the_secret_has_none(rotated, user, caplog):
    fields = rotated.fields()
    del fields["username"]
    rotated.put(rotated.secret_path, **fields)
    rotated.config["rotation"]["target"]["user"] = user.user
    rotated.write_config()
    user.server.ask("ACL", "SETUSER", user.user, "resetpass", f">{secrets.token_hex(8)}")
    rotated.rotate()
    assert rotated.fields()["username"] == user.user
    assert user.lets_in(rotated.fields())
    [told] = [record.fields for record in caplog.records if record.getMessage() == "the old password stays"]
    assert told["user"] == "default"


def test_what_nobody_here_knows_stays_and_is_told(rotated, user, caplog):
    theirs = secrets.token_hex(8)
    user.server.ask("ACL", "SETUSER", user.user, f">{theirs}")
    rotated.rotate()
    assert user.hashes() == {hash_of(theirs), hash_of(rotated.fields()["password"])}
    [told] = [record.fields for record in caplog.records if record.getMessage() == "passwords of others"]
    assert told["hashes"] == [hash_of(theirs)[:16]]
    assert f"ACL SETUSER {user.user} !HASH" in told["todo"]


def test_one_that_a_person_has_replaced_since_goes_too(rotated, user):
    rotated.rotate()
    ours, theirs = rotated.fields(), secrets.token_hex(8)
    user.server.ask("ACL", "SETUSER", user.user, f">{theirs}")
    rotated.put(rotated.secret_path, **{**ours, "password": theirs})
    rotated.rotate()
    assert user.hashes() == {hash_of(rotated.fields()["password"])}


def test_whose_password_it_is_does_not_change_with_the_secret(rotated, user, new_user):
    """Given up, since a person has published another user meanwhile: nothing is left at the first one."""
    before = rotated.fields()
    for crossing in count():
        assert rotated.killed(crossing, after=True)
        if user.hashes() != {hash_of(before["password"])}:
            break
    other = new_user()
    theirs = {**before, **other.secrets()["cache/redis"]}
    rotated.put(rotated.secret_path, **theirs)
    rotated.rotate(finish_only=True)
    assert rotated.fields() == theirs
    assert user.hashes() == {hash_of(before["password"])}
    assert other.hashes() == {hash_of(theirs["password"])}


def test_a_password_changed_in_redis_alone_is_put_right(rotated, user):
    """Nothing that is published works then: the admin gives the user a new one."""
    user.server.ask("ACL", "SETUSER", user.user, "resetpass", f">{secrets.token_hex(8)}")
    rotated.rotate()
    assert user.lets_in(rotated.fields())


MOMENTS = [(act, after) for act in ("stopped", "restarted") for after in (False, True)]


@pytest.mark.parametrize(
    ("act", "after"), MOMENTS, ids=[f"{act}-{'after' if late else 'before'}" for act, late in MOMENTS]
)
def test_redis_may_go_at_any_step_and_what_is_published_works_when_it_is_back(breakable, act, after, monkeypatch):
    """Killed, so that it has nothing but what it was made to save; alone, or to be there again at once."""
    server, crossed = breakable.system.server, 0
    for crossing in count():
        with monkeypatch.context() as patched:
            reached = _lay(patched, server, crossing, after=after, again=act == "restarted")
            with suppress(SystemUnavailableError, SystemRefusedError):
                breakable.rotate()
        if not reached:
            break
        if act == "stopped":
            server.start()
        crossed += 1
        assert breakable.system.lets_in(breakable.fields())
        breakable.recover()
        restart(server)
        fields = breakable.fields()
        assert breakable.system.lets_in(fields)
        assert breakable.system.orphans(fields) == set()
    assert crossed >= 8


def _lay(patched, server, crossing, *, after, again):
    """Let Redis go when lessee asks it for the so manyeth time. What was reached is in the list then."""
    inner, left, reached = redis.Redis.execute_command, count(crossing, -1), []

    def go():
        reached.append(crossing)
        server.stop()
        if again:
            server.start()

    @wraps(inner)
    def call(client, *words, **settings):
        own = client.connection_pool.connection_kwargs.get("username") is None
        here = not own and next(left) == 0
        if here and not after:
            go()
        answer = inner(client, *words, **settings)
        if here and after:
            go()
        return answer

    patched.setattr(redis.Redis, "execute_command", call)
    return reached


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_both_may_go_at_any_step(breakable, after):
    """The rotator is killed, and goes on until it has published; then Redis is killed as well."""
    block, server, crossed = breakable.config["rotation"]["target"], breakable.system.server, 0
    breakable._calls = breakable.system.calls
    block.update(consumers=["simba"], confirmation_timeout="1h")
    breakable.write_config()
    for crossing in count():
        if not breakable.killed(crossing, after=after, wait=False):
            break
        crossed += 1
        breakable.rotate(finish_only=True, wait=False)
        restart(server)
        assert breakable.system.lets_in(breakable.fields())
        breakable.confirm()
        breakable.rotate(finish_only=True)
        assert breakable.journal.step is Step.IDLE
    assert crossed >= 5


def test_a_hanging_redis_is_away_and_not_waited_for(breakable):
    before, process = breakable.fields(), breakable.system.server.process
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(
            SystemUnavailableError, match=r"^127.0.0.1:\d+: Redis does not answer \(TimeoutError\); is it up"
        ):
            breakable.rotate()
    finally:
        process.send_signal(signal.SIGCONT)
    assert breakable.fields() == before
    breakable.recover()
    assert breakable.fields()["rotation_count"] == 1


def _user(words):
    return lambda rotated: rotated.system.server.ask("ACL", "SETUSER", rotated.system.user, *words)


def _admin(**fields):
    return lambda rotated: rotated.put("cache/admin", **{**rotated.fields("cache/admin"), **fields})


def _secret(**fields):
    return lambda rotated: rotated.put("cache/redis", **{**rotated.fields(), **fields})


def _without(*words):
    return lambda rotated: rotated.system.server.ask("ACL", "SETUSER", ADMIN, *words)


def _gone(rotated):
    rotated.system.server.ask("ACL", "DELUSER", rotated.system.user)


def _other_user(rotated):
    rotated.config["rotation"]["target"]["user"] = "somebody"
    rotated.write_config()


def _no_room(rotated):
    aclfile = rotated.system.server.aclfile
    aclfile.unlink()
    aclfile.mkdir()


@pytest.mark.parametrize(
    ("breaks", "told"),
    [
        (_gone, "there is no such ACL user; make it: ACL SETUSER app-"),
        (_user(["nopass"]), "the user takes any password; ACL SETUSER app-"),
        (_user(["off"]), "the user is switched off; if it shall not be: ACL SETUSER app-"),
        (_admin(password="wrong"), "Redis refuses the admin's login; write the admin's username and password"),
        (_without("-acl|setuser"), f"the admin may not do what is needed; ACL SETUSER {ADMIN} +acl|getuser +acl|setu"),
        (_without("-acl|getuser"), f"the admin may not do what is needed; ACL SETUSER {ADMIN} +acl|getuser"),
        (_without("-acl|save"), f"the admin may not do what is needed; ACL SETUSER {ADMIN} +acl|getuser"),
        (
            _secret(username=ADMIN),
            f"cache/admin: the admin is {ADMIN} himself, and would be shut out; give it a user of",
        ),
        (_secret(host=""), "cache/redis: the secret lacks host; write it with all of host, port, password"),
        (_admin(host=""), "cache/admin: the secret lacks host"),
        (_secret(host="x" * 70), "Redis refuses (Unicode"),
        (_secret(db=99), "Redis refuses (ResponseError); is it a Redis from version 6 on, and are host and db right?"),
        (_secret(tls="true", ca_file="/nowhere/ca.pem"), "/nowhere/ca.pem: the secret's ca_file is not there"),
        (_other_user, "cache/redis: its username is not somebody; mend `user:`, or the secret's username"),
        (_no_room, "Redis cannot save its aclfile; may Redis write the file, and its folder? its log says more"),
    ],
)
def test_what_is_in_the_way_is_told_and_the_published_stays(breakable, breaks, told):
    breaks(breakable)
    before = breakable.fields()
    with pytest.raises(LesseeError) as caught:
        breakable.rotate()
    assert told in str(caught.value)
    assert breakable.fields() == before
    values = {before["password"], breakable.journal.pending.get("password", before["password"])}
    assert not any(value in str(caught.value) for value in values)


def test_once_it_is_out_of_the_way_the_same_rotation_goes_on(breakable):
    server = breakable.system.server
    server.ask("ACL", "SETUSER", ADMIN, "-acl|save")
    with pytest.raises(SystemRefusedError):
        breakable.rotate()
    noted = breakable.journal.pending["password"]
    server.ask("ACL", "SETUSER", ADMIN, "+acl|save")
    breakable.recover()
    assert breakable.fields()["password"] == noted


@pytest.fixture
def plain(bao, tmp_path):
    """Without an aclfile: the default user of a configuration file."""
    with Redis(tmp_path) as server:
        server.ask("ACL", "SETUSER", ADMIN, "on", ">admins", *RIGHTS.split(), "+config|rewrite")
        yield Rotated(bao, tmp_path, _DefaultUser(server))


class _DefaultUser:
    calls = ()
    target = {"kind": "redis", "secret": "cache/redis", "admin_secret": "cache/admin"}  # noqa: RUF012  # Nobody writes it.

    def __init__(self, server):
        self.server = server

    def secrets(self):
        place = {"host": "127.0.0.1", "port": self.server.port}
        return {
            "cache/redis": {**place, "password": self.server.password},
            "cache/admin": {**place, "username": ADMIN, "password": "admins"},
        }

    def lets_in(self, fields):
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
    assert plain.system.lets_in(fields)
    assert not plain.system.lets_in(before)


def test_a_default_user_without_a_password_is_refused(plain):
    plain.system.server.ask("ACL", "SETUSER", "default", "nopass")
    with pytest.raises(SystemRefusedError, match="default: the user takes any password; ACL SETUSER default resetpass"):
        plain.rotate()


def test_where_nothing_outlives_a_restart_that_is_told_and_mended(plain, caplog):
    server, block = plain.system.server, plain.config["rotation"]["target"]
    server.stop()
    options = {"port": server.port, "bind": "127.0.0.1", "requirepass": server.password, "save": ""}
    users = ["--user", ADMIN, "on", ">admins", *RIGHTS.split(), "+config|rewrite"]
    server.command[1:] = [*(word for key, value in options.items() for word in (f"--{key}", str(value))), *users]
    server.start()
    block.update(consumers=["simba"], confirmation_timeout="1h")
    plain.write_config()
    assert plain.rotate(wait=False) is Outcome.ROTATED
    assert "a restart of Redis loses the new password" in caplog.text
    restart(server)
    assert not plain.system.lets_in(plain.fields())
    plain.confirm()
    plain.rotate(finish_only=True)
    assert plain.system.lets_in(plain.fields())


def test_over_tls_the_server_is_looked_at(bao, tmp_path):
    pair, ca, other = (tmp_path / name for name in ("pair.pem", "ca.pem", "other.pem"))
    Authority(ca).issue(pair, 1)
    Authority(other)
    with Redis(tmp_path, pair=pair, acl=[f"user {ADMIN} on >admins {RIGHTS}"]) as server:
        rotated = Rotated(bao, tmp_path, AclUser(server, "admins"))
        secured = {"port": server.secure, "tls": True, "ca_file": str(ca)}
        for path in ("cache/redis", "cache/admin"):
            rotated.put(path, **{**rotated.fields(path), **secured})
        rotated.rotate()
        assert rotated.system.lets_in(rotated.fields())
        rotated.put("cache/admin", **{**rotated.fields("cache/admin"), "ca_file": str(other)})
        with pytest.raises(SystemUnavailableError, match="Redis does not answer"):
            rotated.rotate()
