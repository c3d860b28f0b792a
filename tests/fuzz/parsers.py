"""Every parser of bytes that others write, as a function of bytes, with the errors that it may raise."""

import io
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import msgspec
import redis

from lessee.audit_trail.policy.entries import decode_entry, decode_head, newer_format
from lessee.config.parsing import parse as parse_config
from lessee.core import cgroups, hcl, issue_messages
from lessee.core.change_events import decode_message
from lessee.core.credentials import MysqlLogin, RabbitmqLogin
from lessee.core.errors import LesseeError
from lessee.core.last_known_good import decode_snapshot, parse_header
from lessee.core.own_end import end_of
from lessee.core.source_text import Text
from lessee.core.timestamps import parse_timestamp
from lessee.events.vault_messages import parse_event
from lessee.host import amqp_login, mysql_client, redis_client
from lessee.host.amqp_login import AmqpError
from lessee.host.answer_limits import AnswerLimits, LimitedSocket
from lessee.host.ldap_client import Directory, LdapError
from lessee.host.mysql_client import MysqlError
from lessee.mcp.session.line_splitter import LineSplitter
from lessee.mcp.session.messages import decode, members, meta_id, param_id, parse
from lessee.ops.access.policy.rules import rules_of
from lessee.ops.backup.policy import archive_format, records
from lessee.ops.issue.policy import issued
from lessee.ops.mcp.policy import jsonc
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report
from lessee.ops.migrate.policy.golang import parser as golang
from lessee.ops.monitor.policy.decoder import InvalidLineError
from lessee.ops.monitor.policy.decoder import decode as decode_audit_line
from lessee.ops.monitor.responses.signatures import InvalidSignatureError, signer
from lessee.ops.rotate.kinds.redis import _User
from lessee.ops.scan.policy import baseline
from lessee.ops.scan.policy.places import place_of
from lessee.ops.scan.policy.search import search
from lessee.publishing import state_format_1, state_records
from lessee.publishing.state_records import StoredIdentity, StoredLease, StoredToken, decode_app, why_ignored
from lessee.rendering.formats import FORMATS, outline
from lessee.rendering.public_variables import public_names
from lessee.sources.policy import sops_text
from lessee.sources.policy.sops_format import SopsError, decrypted
from lessee.sources.policy.sops_text import ENDINGS
from lessee.vault import responses, wire
from lessee.vault.auth.spiffe_jwt import first_svid
from lessee.vault.engines.kv import _ListedData

_DAMAGED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_KEY = bytes(32)
_APPROVERS = {"alice": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"}
"""Of the private key that is all zeros."""


class Parser(NamedTuple):
    """A parser of foreign bytes. `errors`: what it raises for bytes that it refuses."""

    parse: Callable[[bytes], object]
    errors: tuple[type[BaseException], ...] = (LesseeError,)


def _sops(data: bytes) -> None:
    """A file of SOPS in each notation, whose values nothing decrypts."""

    def open_(_iv: bytes, _data: bytes, _additional: bytes) -> bytes:
        raise ValueError

    for ending in ENDINGS:
        with suppress(SopsError):
            decrypted(*sops_text.parse(_text(data), ending), open_)


def _text(data: bytes) -> str:
    """As lessee reads a file: what is not UTF-8 is refused before a parser sees it."""
    return data.decode("utf-8", "replace")


def _import(name: str, data: bytes) -> None:
    convert(name, _text(data), lambda path: Text(f'{{{{ with secret "a" }}}}{path}{{{{ end }}}}', path, 1), Report())


def _http_response(data: bytes) -> None:
    """A response, its body in pieces, and what the body says."""
    response = wire.Response(io.BufferedReader(io.BytesIO(data)))  # type: ignore[arg-type]
    pieces, size = [], 0
    while size < 1 << 20 and (piece := response.read(4096)):
        pieces.append(piece)
        size += len(piece)
    _vault_answer(b"".join(pieces), response.status, response.headers)


def _vault_answer(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
    for each in (200, 404, 429, status):
        responses.parse_error(each, headers or {}, content)
        responses.is_stale(each, content, expects_state=True)
    with suppress(responses.RequestFailedError):
        responses.parse_response(headers or {}, content).date  # noqa: B018  # It parses the header.
    with suppress(responses.RequestFailedError):
        responses.parse_raw_data(responses.raw_data(content), _ListedData)


class _Answers:
    """A socket that receives these bytes, whatever is sent."""

    def __init__(self, data: bytes) -> None:
        self._left = io.BytesIO(data)

    def recv(self, size: int, _flags: int = 0) -> bytes:
        return self._left.read(size)

    def sendall(self, *_: object) -> None:
        pass

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        return self._left

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


def _redis_answer(data: bytes) -> None:
    class Connection(redis_client._connection("rotate", 60.0)):
        def _connect(self) -> LimitedSocket:
            self._limits = AnswerLimits(60.0, redis_client.MAX_ANSWER_SIZE, mark=b"\n", parts=redis_client._MAX_LINES)
            return LimitedSocket(_Answers(data), self._limits)

    pool = redis.ConnectionPool(connection_class=Connection, protocol=2)
    with suppress(redis.RedisError):
        _User.parse(redis_client._client_class("rotate")(connection_pool=pool).acl_getuser("app"))


def _ldap_answer(data: bytes) -> None:
    """The answers to a bind, a search and a change."""
    for ask in (
        lambda directory: directory.bind("cn=app", "password"),
        lambda directory: directory.values("cn=app", "userPassword"),
        lambda directory: directory.modify("cn=app", "userPassword", []),
    ):
        directory = Directory.__new__(Directory)
        directory._limits, directory._number = AnswerLimits(60.0, 1 << 20), 0
        directory._socket = LimitedSocket(_Answers(data), directory._limits)  # type: ignore[arg-type]
        with suppress(LdapError):
            ask(directory)


def _amqp_answer(data: bytes) -> None:
    login = RabbitmqLogin("broker", 5672, "/", "app", "password", tls=False, ca_file="")
    answers = LimitedSocket(_Answers(data), AnswerLimits(60.0, 1 << 18))  # type: ignore[arg-type]
    with patch.object(amqp_login, "_connect", lambda *_: answers):
        amqp_login.log_in(login, 60.0)


def _mysql_answer(data: bytes) -> None:
    login = MysqlLogin("db", 3306, "shop", "app", "password", tls=False, ca_file="")
    with (
        patch.object(mysql_client.socket, "create_connection", lambda *_: _Answers(data)),
        mysql_client.session(login, extra="rotate", program="fuzz", timeout=60.0, total=60.0) as session,
    ):
        session.rows("SELECT %s", "value")


def _http_date(data: bytes) -> None:
    text = data.decode("latin-1")
    responses.parse_response({"date": text}, b"{}").date  # noqa: B018  # As above.
    responses.parse_error(429, {"retry-after": text}, b"{}")


def _mcp(data: bytes) -> None:
    splitter = LineSplitter()
    for line in (*splitter.feed(data), splitter.take_rest()):
        for message in parse(line) or ():
            raw = getattr(message, "params", b"") or b"{}"
            members(raw), param_id(raw, "requestId"), meta_id(raw, "progressToken"), decode(raw)


def _issue(data: bytes) -> None:
    """A packet of an agent or a service, the cgroup of a process, and the record of a service."""
    for kind in (issue_messages.Hello, issue_messages.Request, issue_messages.Reply):
        issue_messages.decode(data, kind)
    text = _text(data)
    container = cgroups.container_of(text)
    cgroups.unit_of(text)
    cgroups.is_inside(text, container or "a", text)
    issued.decode(data, "boot")


def _archive(data: bytes) -> None:
    """The clear text of an archive: headers, the manifest, and its records."""
    block = data[: archive_format.TAR_BLOCK].ljust(archive_format.TAR_BLOCK, b"\0")
    with suppress(LesseeError):
        archive_format.read_header(block)
    with suppress(LesseeError):
        archive_format.parse_manifest(data)
    with suppress(LesseeError):
        archive_format.parse_manifest(data, any_format=True)
    for version in (1, archive_format.FORMAT):
        with suppress(LesseeError):
            records.parse_object(data, version)
    with suppress(LesseeError):
        records.parse_secret(data, _KEY)


def _state_record(data: bytes) -> None:
    for kind in (StoredIdentity, StoredToken, StoredLease):
        found = state_records.decode(data, kind)
        if found is not None:
            found.file  # noqa: B018  # It derives the name.
    decode_app(data)
    why_ignored(data)
    for old in (state_format_1.upgrade_token, state_format_1.upgrade_lease):
        with suppress(*_DAMAGED):
            old("lease-ab-x", data, "ab", "cd")
    with suppress(*_DAMAGED):
        state_format_1.upgrade_identity("identity-ab", data)


def _snapshot(data: bytes) -> None:
    with suppress(LesseeError):
        parse_header(data)
    with suppress(LesseeError):
        decode_snapshot(data, frozenset(), 0.0, 1)
    decode_snapshot(data, frozenset(), 0.0)


def _own_end(data: bytes) -> None:
    """The end of an SSH certificate or of a token, as its text and as the bytes that the text encodes."""
    for text in (_text(data), f"x {b64encode(data).decode()}", f"a.{urlsafe_b64encode(data).decode()}.c"):
        end_of({"signed_key": text})
        end_of({"token": text})


def _events(data: bytes) -> None:
    decode_message(data)
    parse_event(data)


def _audit_trail(data: bytes) -> None:
    decode_entry(data)
    decode_head(data)
    newer_format(data)


PARSERS = {
    "scan": Parser(lambda data: search(data.decode(errors="surrogateescape"), place_of("a.conf"))),
    "scan-baseline": Parser(lambda data: baseline.parse(_text(data), ".lessee-scan.json")),
    "hcl": Parser(lambda data: hcl.parse(_text(data), "a.hcl")),
    "acl-policy": Parser(lambda data: rules_of(_text(data), "policy")),
    "agent-config": Parser(partial(_import, "agent.hcl")),
    "injector": Parser(partial(_import, "pod.yaml")),
    "consul-template": Parser(partial(_import, "a.ctmpl")),
    "go-template": Parser(lambda data: golang.parse(Text(_text(data), "a.ctmpl", 1))),
    "lessee-yaml": Parser(lambda data: parse_config(_text(data), source="lessee.yaml", environ={}, blocks=())),
    "jsonc": Parser(lambda data: jsonc.parse(_text(data), "mcp.json")),
    "public-variables": Parser(lambda data: list(public_names(_text(data)))),
    "approval": Parser(lambda data: signer(b"lessee response\n", data, _APPROVERS), (InvalidSignatureError,)),
    "audit-line": Parser(lambda data: decode_audit_line(data, "server"), (InvalidLineError,)),
    "audit-trail": Parser(_audit_trail),
    "timestamp": Parser(lambda data: parse_timestamp(_text(data))),
    "state-record": Parser(_state_record),
    "snapshot": Parser(_snapshot),
    "archive": Parser(_archive),
    "http-response": Parser(_http_response, (wire.InvalidResponseError, ConnectionResetError)),
    "redis-answer": Parser(_redis_answer),
    "ldap-answer": Parser(_ldap_answer, (LdapError,)),
    "amqp-answer": Parser(_amqp_answer, (AmqpError,)),
    "mysql-answer": Parser(_mysql_answer, (MysqlError,)),
    "http-date": Parser(_http_date),
    "vault-answer": Parser(_vault_answer),
    "own-end": Parser(_own_end),
    "events": Parser(_events),
    "sops": Parser(_sops),
    "spiffe-answer": Parser(first_svid),
    "mcp": Parser(_mcp),
    "issue": Parser(_issue),
    **{f"format-{name}": Parser(lambda data, name=name: outline(_text(data), name)) for name in FORMATS},
}
for _name in FORMATS:
    with suppress(LesseeError):
        outline("", _name)  # Its module is imported now, and not within the time of the first input.
