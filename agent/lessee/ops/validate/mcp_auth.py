"""An MCP server over HTTP: it lets in who has its key, and nobody else."""

import json
import secrets
from collections.abc import Iterator
from functools import partial

from lessee.config.grammar.validate import CheckedMcp
from lessee.ops.validate import keys
from lessee.ops.validate.checks import Check, NotLookedError
from lessee.ops.validate.context import Subject
from lessee.ops.validate.http import Answer, ask, bare, shown
from lessee.ops.validate.policy.mcp import INITIALIZE, LET_IN, REFUSED, UNWELL, credential
from lessee.ops.validate.policy.results import Result, Teller

_TELL = Teller("mcp_auth")
_NAMES = ("key-present", "key-kept-private", "key-let-in", "wrong-key-refused", "no-key-refused")
_HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
_SHARE = 0.25
"""Of a check's time: three requests are sent, and one to say goodbye."""


def checks(subject: Subject) -> Iterator[Check]:
    """Those of the server that the configuration names."""
    yield Check("mcp_auth", _NAMES, partial(_look, subject))


def _look(subject: Subject) -> Iterator[Result]:
    said = subject.config.validate.mcp_auth
    if said is None:
        raise NotLookedError("validate.mcp_auth names no server")
    found = keys.credential(subject, _TELL, "key-present", said.secret, said.key, whose="the MCP server's key")
    yield found.result
    if not found.value:
        return
    if bare(said.url):
        text = f"{shown(said.url)} would take the key over the network in the clear, so it was not sent"
        yield _TELL.critical("key-kept-private", text, "put TLS in front of it, and write https://")
        return
    yield _TELL.passed("key-kept-private", "the key crosses no network in the clear")
    yield _right(said, _initialize(subject, said, found.value))
    # A wrong key of the same length, which nobody has given anybody.
    wrong = secrets.token_hex(len(found.value))[: len(found.value)]
    yield _refused(said, "wrong-key-refused", "a wrong key", _initialize(subject, said, wrong))
    yield _refused(said, "no-key-refused", "no key at all", _initialize(subject, said, None))


def _right(said: CheckedMcp, answer: Answer) -> Result:
    check, url = "key-let-in", shown(said.url)
    if answer.status is None:
        todo = "start it, or mend validate.mcp_auth.url"
        return _TELL.critical(check, f"{url} does not answer: {answer.why}", todo)
    if answer.status in LET_IN:
        return _TELL.passed(check, f"{url} lets in who has the key")
    if answer.status in REFUSED:
        todo = "give the server the key that is in Vault: is its file fresh, and was it restarted?"
        return _TELL.critical(check, f"{url} refuses the key in Vault ({answer.status})", todo)
    todo = "name the URL at which it takes requests, such as …/mcp, in validate.mcp_auth.url"
    return _TELL.critical(check, f"{url} answers {answer.status} to a client's first request", todo)


def _refused(said: CheckedMcp, check: str, what: str, answer: Answer) -> Result:
    url = shown(said.url)
    if answer.status is None:
        return _TELL.unlooked(check, f"{url} does not answer: {answer.why}")
    if answer.status in REFUSED:
        return _TELL.passed(check, f"{url} refuses {what} ({answer.status})")
    if answer.status in UNWELL:
        return _TELL.unlooked(check, f"{url} gives no clear answer to {what} ({answer.status})")
    todo = "make it ask for the key before everything else, and take it off the network until it does"
    return _TELL.critical(check, f"{url} answers {answer.status} to {what} instead of 401 or 403: it is open", todo)


def _initialize(subject: Subject, said: CheckedMcp, key: str | None) -> Answer:
    """As a client begins; a session that it opens is ended."""
    headers = _HEADERS if key is None else {**_HEADERS, said.header: credential(said.header, key)}
    timeout = subject.timeout * _SHARE
    answer = ask(said.url, headers, timeout, method="POST", body=json.dumps(INITIALIZE).encode())
    if answer.session:
        ask(said.url, {**headers, "Mcp-Session-Id": answer.session}, timeout, method="DELETE")
    return answer
