"""Checks that an MCP server accepts its key over HTTP, and rejects all other clients."""

import json
import secrets
from collections.abc import Iterator, Mapping
from functools import partial

from lessee.config.grammar.validate import McpCheck
from lessee.core.sensitive.names import is_sensitive
from lessee.ops.validate.checks import Check, CheckSkippedError, NotConfiguredError
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.credentials import check_key
from lessee.ops.validate.network import Answer, displayed, is_plaintext, send
from lessee.ops.validate.policy.layout import component_of
from lessee.ops.validate.policy.results import Reporter, Result, Skip

_REPORTER = Reporter("mcp_auth")
_KEY = "api_key"
_ADDRESSES = ("url", "endpoint", "server_url")
"""The keys of a secret that may say where its server is."""
_NAMES = ("key-present", "key-over-tls", "key-accepted", "wrong-key-rejected", "missing-key-rejected")
_HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
_SHARE = 0.25
"""Of a check's time: there are three requests, and one that ends the session."""
_ACCEPTED = frozenset({*range(200, 300), 405, 406})
"""A server answers 405 and 406 after it has accepted the key, if it does not support this kind of request."""
_REJECTED = frozenset({401, 403})
_UNAVAILABLE = frozenset({429, *range(500, 600)})
"""The server, or a proxy in front of it, has a failure, which says nothing about the key."""
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-03-26",
        "capabilities": {},
        "clientInfo": {"name": "lessee-validate", "version": "1"},
    },
}
"""The first request of every client: https://modelcontextprotocol.io/specification/2025-03-26/basic/lifecycle."""


def checks(context: ValidationContext) -> Iterator[Check]:
    """The checks of the configured server, and of all other keys in mcp/."""
    block = context.config.validate.mcp_auth
    if block is not None:
        yield Check("mcp_auth", _NAMES, partial(_check, context, block))
    yield Check("mcp_auth", _NAMES[:1], partial(_check_found, context), optional=block is not None)


def header_value(header: str, key: str) -> str:
    """The value of the header with the key: in Authorization a bearer token."""
    return f"Bearer {key}" if header.lower() == "authorization" else key


def _check_found(context: ValidationContext) -> Iterator[Result]:
    """Check the keys of servers that `validate.mcp_auth` does not name."""
    block = context.config.validate.mcp_auth
    secrets = {path: data for path, data in context.secrets().items() if component_of(path) == "mcp_auth"}
    paths = {*secrets, *context.missing("mcp_auth")} - ({block.secret} if block is not None else set())
    if not paths:
        if reason := context.overlooked("mcp"):
            raise CheckSkippedError(reason)
        if block is not None:
            return
        folder = f"{context.scope.mount}/{context.scope.prefix}mcp/"
        raise NotConfiguredError(f"{folder} has no secrets, and validate.mcp_auth is not configured")
    if reason := context.overlooked("mcp"):
        yield _REPORTER.skipped("key-present", reason, Skip.INCOMPLETE)
    for path in sorted(paths):
        data = secrets.get(path, {})
        url = next((value for name in _ADDRESSES if is_http_url(value := data.get(name))), None)
        key = _key_of(data)
        if url is not None:
            yield from _check(context, McpCheck(url=str(url), secret=path, key=key))
            continue
        found = check_key(context, _REPORTER, "key-present", path, key, subject=f"the key of {path}")
        yield found.result
        if found.value:
            text = (
                f"{path}: not tested whether its server accepts only this key; validate.mcp_auth.url says where it is"
            )
            yield _REPORTER.skipped("key-accepted", text, Skip.INCOMPLETE)


def _key_of(data: Mapping[str, object]) -> str:
    """The usual key, or else the only one that is named like a credential."""
    named = [key for key, value in data.items() if is_sensitive(key) and isinstance(value, str)]
    return named[0] if len(named) == 1 else _KEY


def is_http_url(value: object) -> bool:
    """Whether a value is a URL of HTTP."""
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _check(context: ValidationContext, block: McpCheck) -> Iterator[Result]:
    key = check_key(context, _REPORTER, "key-present", block.secret, block.key, subject="the MCP server's key")
    yield key.result
    if not key.value:
        return
    if is_plaintext(block.url):
        text = f"the key would cross the network to {displayed(block.url)} without TLS, and was not sent"
        yield _REPORTER.critical("key-over-tls", text, "put the server behind TLS, and write https://")
        return
    yield _REPORTER.passed("key-over-tls", "the key crosses no network without TLS")
    yield _check_accepted(block, _initialize(context, block, key.value))
    # A wrong key of the same length.
    wrong = secrets.token_hex(len(key.value))[: len(key.value)]
    yield _check_rejected(block, "wrong-key-rejected", "a wrong key", _initialize(context, block, wrong))
    yield _check_rejected(block, "missing-key-rejected", "a request without a key", _initialize(context, block, None))


def _check_accepted(block: McpCheck, answer: Answer) -> Result:
    check, url = "key-accepted", displayed(block.url)
    if answer.status is None:
        todo = "start it, or correct validate.mcp_auth.url"
        return _REPORTER.critical(check, f"{url} does not answer: {answer.error}", todo)
    if answer.status in _ACCEPTED:
        return _REPORTER.passed(check, f"{url} accepts the key")
    if answer.status in _REJECTED:
        todo = "give the server the key in Vault: check that its file is fresh, and that it was restarted"
        return _REPORTER.critical(check, f"{url} rejects the key in Vault ({answer.status})", todo)
    todo = "set validate.mcp_auth.url to the server's endpoint, such as …/mcp"
    return _REPORTER.critical(check, f"{url} answers {answer.status} to a client's first request", todo)


def _check_rejected(block: McpCheck, check: str, request: str, answer: Answer) -> Result:
    url = displayed(block.url)
    if answer.status is None:
        return _REPORTER.skipped(check, f"{url} does not answer: {answer.error}")
    if answer.status in _REJECTED:
        return _REPORTER.passed(check, f"{url} rejects {request} ({answer.status})")
    if answer.status in _UNAVAILABLE:
        return _REPORTER.skipped(check, f"{url} is unavailable ({answer.status})")
    todo = "let it check the key before everything else, and disconnect it from the network until then"
    return _REPORTER.critical(check, f"{url} answers {answer.status} to {request}, not 401 or 403: it is open", todo)


def _initialize(context: ValidationContext, block: McpCheck, key: str | None) -> Answer:
    """The response to a client's first request; a session that the server opens is ended."""
    headers = _HEADERS if key is None else {**_HEADERS, block.header: header_value(block.header, key)}
    timeout = context.timeout * _SHARE
    answer = send(block.url, headers, timeout, method="POST", body=json.dumps(_INITIALIZE).encode())
    if answer.session:
        send(block.url, {**headers, "Mcp-Session-Id": answer.session}, timeout, method="DELETE")
    return answer
