"""Vault itself: the server, and what the configured login may do there."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from lessee.config.grammar.validate import CACHE_DATABASE, DatabaseCheck, StorageCheck
from lessee.core.errors import LesseeError, VaultRequestError, VaultUnreachableError
from lessee.core.failures import Kind
from lessee.core.secrets import Secret
from lessee.host.http_client import is_loopback
from lessee.ops.validate import agent
from lessee.ops.validate.checks import Check, NotLookedError
from lessee.ops.validate.context import Subject
from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Result, Teller
from lessee.vault.admin import AdminClient
from lessee.vault.health import Health

_TELL = Teller("vault")
_SERVER = ("reachable", "initialised", "unsealed", "active-node", "tls", "tls-expiry", "clock-skew")
_TOKEN = ("login", "token-not-root", "token-ttl", "token-renewable")
_PROBE = "lessee-validate"
"""A path that is not there: a policy that allows it is told by a 404."""


def checks(subject: Subject) -> Iterator[Check]:
    """Those of the server, of the login, and of an agent that runs here."""
    yield Check("vault", _SERVER, partial(_server, subject))
    yield Check("vault", _TOKEN, partial(_token, subject))
    yield Check("vault", ("kv-version-2",), partial(_version, subject))
    yield Check("vault", ("secret-readable",), partial(_readable, subject))
    yield Check("vault", ("environments-apart",), partial(_apart, subject))
    yield Check("vault", ("audit-device",), partial(_audit, subject))
    yield agent.check(subject, _TELL)


def _server(subject: Subject) -> Iterator[Result]:
    every = subject.health()
    healthy = [one for one in every if not one.error]
    silent = [f"{one.url}: {one.error}" for one in every if one.error]
    todo = "start it, or mend vault.address and the network on the way"
    if not healthy:
        yield _TELL.critical("reachable", f"Vault does not answer: {'; '.join(silent)}", todo)
        return
    if silent:
        yield _TELL.warning("reachable", f"a node of Vault does not answer: {'; '.join(silent)}", todo)
    else:
        yield _TELL.passed("reachable", f"Vault connection successful ({', '.join(one.url for one in healthy)})")
    yield from _state(healthy)
    yield from _security(subject, healthy)
    yield from _clock(healthy)


def _state(healthy: list[Health]) -> Iterator[Result]:
    if not any(one.initialized for one in healthy):
        todo = "initialise it: `lessee setup --init DIR`, or `bao operator init`"
        yield _TELL.critical("initialised", "Vault is not initialised", todo)
        yield _TELL.unlooked("unsealed", "Vault is not initialised")
        return
    yield _TELL.passed("initialised", "Vault is initialised")
    if sealed := [one.url for one in healthy if one.sealed]:
        todo = "unseal it: `bao operator unseal`, once for each key of the threshold"
        yield _TELL.critical("unsealed", f"Vault is sealed: {', '.join(sealed)}", todo)
    else:
        yield _TELL.passed("unsealed", "Vault is unsealed")


def _security(subject: Subject, healthy: list[Health]) -> Iterator[Result]:
    yield _active(subject, healthy)
    yield _tls(subject, [one.url for one in healthy])
    certificates = [one.certificate for one in healthy if one.certificate is not None]
    if certificates:
        left = min(_not_after(certificate) for certificate in certificates) - subject.now
        todo = "have a new certificate issued, and let Vault read it (SIGHUP)"
        yield thresholds.expiry(_TELL, "tls-expiry", "Vault's certificate", left, todo)
    else:
        yield _TELL.unlooked("tls-expiry", "there is no TLS, and so no certificate")


def _active(subject: Subject, healthy: list[Health]) -> Result:
    check = "active-node"
    if any(one.active for one in healthy):
        return _TELL.passed(check, "an active node serves")
    if all(one.sealed for one in healthy):
        return _TELL.unlooked(check, "Vault is sealed")
    try:
        subject.client()
    except NotLookedError:
        todo = "bring back so many nodes that they are a majority: `bao operator raft list-peers`"
        return _TELL.critical(check, "a standby answers, and no node is active", todo)
    return _TELL.passed(check, "a standby passes on to an active node")


def _tls(subject: Subject, urls: list[str]) -> Result:
    bare = [url for url in urls if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or "")]
    if bare:
        todo = "give Vault's listener a certificate, and write https:// in vault.address"
        return _TELL.critical("tls", f"tokens and secrets cross the network in the clear: {', '.join(bare)}", todo)
    if subject.config.vault.tls_skip_verify and any(url.startswith("https://") for url in urls):
        todo = "take `insecure: true` out, and name the CA in vault.ca_file"
        return _TELL.critical("tls", "Vault's certificate is not verified: anybody may answer in its place", todo)
    secured = all(url.startswith("https://") for url in urls)
    return _TELL.passed("tls", "TLS, and verified" if secured else "plain HTTP, on loopback alone")


def _not_after(certificate: bytes) -> float:
    from cryptography import x509  # noqa: PLC0415  # Only this needs it.

    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()


def _clock(healthy: list[Health]) -> Iterator[Result]:
    # The server says whole seconds: on the average it is half a second later.
    apart = [one.received_at - one.server_time - 0.5 for one in healthy if one.server_time is not None]
    if apart:
        yield thresholds.skew(_TELL, "clock-skew", "Vault", max(apart, key=abs))
    else:
        yield _TELL.unlooked("clock-skew", "Vault does not say what time it is")


def _token(subject: Subject) -> Iterator[Result]:
    method = str(subject.config.vault.auth.__struct_config__.tag)
    try:
        subject.log_in()
    except LesseeError as exc:
        if isinstance(exc, VaultUnreachableError) and not any(one.active for one in subject.health()):
            raise NotLookedError("Vault does not serve") from None
        todo = exc.todo or "look at vault.auth and $VAULT_TOKEN, and whether the credentials are still valid"
        yield _TELL.critical("login", f"the login by {method} fails: {exc.what}", todo)
        return
    own = subject.identity()
    yield _TELL.passed("login", f"Vault login by {method} works")
    try:
        known = own.request("GET", "auth/token/lookup-self").data
    except VaultRequestError as exc:
        raise NotLookedError(f"the token may not look itself up: {exc.what}") from None
    yield from _judge(known)


def _judge(known: Mapping[str, Any]) -> Iterator[Result]:
    if "root" in (known.get("policies") or ()):
        todo = "give it a policy (`lessee check --policy` prints the smallest), and log in by approle or another method"
        yield _TELL.critical("token-not-root", "the token is a root token: it may do everything", todo)
    else:
        yield _TELL.passed("token-not-root", "the token is no root token")
    ttl, whole = float(known.get("ttl") or 0), float(known.get("creation_ttl") or 0)
    yield thresholds.token_left(_TELL, "token-ttl", ttl, whole)
    if ttl and not known.get("renewable"):
        todo = "make it with token_type=service and without an explicit limit, or let the agent log in itself"
        yield _TELL.warning("token-renewable", "the token cannot be renewed: the agent has to log in anew", todo)
    else:
        yield _TELL.passed("token-renewable", "the token can be renewed" if ttl else "the token does not end")


def _version(subject: Subject) -> Iterator[Result]:
    mount = subject.scope.mount
    if subject.kv_version() == 1:
        todo = f"keep versions: `bao kv enable-versioning {mount}`"
        yield _TELL.warning("kv-version-2", f"{mount}/ is KV version 1: what is overwritten is gone", todo)
    else:
        yield _TELL.passed("kv-version-2", f"{mount}/ is KV version 2")


def _readable(subject: Subject) -> Iterator[Result]:
    own, version = subject.identity(), subject.kv_version()
    for path in _usual(subject):
        ref = subject.scope.secret(path)
        try:
            found = own.read_secret(ref, version)
        except VaultRequestError as exc:
            what = f"{ref} cannot be read: {exc.what}"
            todo = "grant it to the login's policy: `lessee check --policy` prints the smallest"
            yield _TELL.critical("secret-readable", what, todo)
        else:
            if not isinstance(found, Secret):
                continue
            yield _TELL.passed("secret-readable", f"Vault secret retrieval working ({ref})")
        return
    raise NotLookedError(f"there is no secret at any of {', '.join(_usual(subject))}")


def _usual(subject: Subject) -> tuple[str, ...]:
    said = subject.config.validate
    cache = said.mcp_cache.secret if said.mcp_cache else None
    return (
        (said.database or DatabaseCheck()).secret,
        (said.storage or StorageCheck()).secret,
        cache or CACHE_DATABASE,
    )


def _apart(subject: Subject) -> Iterator[Result]:
    own, foreign = subject.identity(), sorted(subject.config.foreign_environments)
    if not foreign:
        raise NotLookedError("there are no other environments")
    data = "data/" if subject.kv_version() != 1 else ""
    folders = [f"{subject.scope.mount}/{data}{folder}" for folder in subject.other_folders().values()]
    paths = {f"{folder}{path}" for folder in folders for path in (_PROBE, *_usual(subject))}
    opened = _allowed(own, sorted(paths))
    for folder in folders:
        probe = f"{folder}{_PROBE}"
        if probe not in opened and _answers(own, probe):
            opened.append(probe)
    if opened:
        todo = "narrow the policy to this environment's own folder: `lessee setup` makes such"
        yield _TELL.critical("environments-apart", f"the login may touch {', '.join(sorted(opened))}", todo)
    else:
        yield _TELL.passed("environments-apart", f"Vault refuses the paths of {', '.join(foreign)}")


def _allowed(own: AdminClient, paths: list[str]) -> list[str]:
    """Those of which the token may do anything, by its policies; none where it may not ask."""
    try:
        found = own.capabilities(paths)
    except VaultRequestError:
        return []
    return [path for path in paths if set(found[path]) - {"deny"}]


def _answers(own: AdminClient, path: str) -> bool:
    """Whether a request there is not refused. Raises DeniedError or VaultUnreachableError where that cannot be seen."""
    try:
        own.read(path)
    except VaultRequestError as exc:
        if exc.kind is not Kind.DENIED:
            raise
        return False
    return True


def _audit(subject: Subject) -> Iterator[Result]:
    client = subject.client()
    try:
        devices = client.request("GET", "sys/audit").data
    except VaultRequestError as exc:
        raise NotLookedError(f"whether there is an audit device: {exc.what}; it takes sudo on sys/audit") from None
    if devices:
        yield _TELL.passed("audit-device", f"Vault keeps an audit log ({', '.join(sorted(devices))})")
    else:
        todo = "enable one: `lessee setup`, or an audit stanza in the server's configuration"
        yield _TELL.warning("audit-device", "Vault keeps no audit log: nobody will know who read what", todo)
