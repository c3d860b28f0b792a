"""Checks Vault: the servers, the configured login and its permissions, and a running agent."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from lessee.config.grammar.validate import CACHE_DATABASE, DatabaseCheck, StorageCheck
from lessee.core.errors import DeniedError, LesseeError, VaultRequestError, VaultUnreachableError
from lessee.core.failures import Kind
from lessee.core.secrets import Secret
from lessee.host.http_client import is_loopback
from lessee.ops.validate.checks import Check, CheckSkippedError, NotConfiguredError
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.policy import agent_status, thresholds
from lessee.ops.validate.policy.results import Reporter, Result
from lessee.vault.admin import AdminClient
from lessee.vault.health import Health

_REPORTER = Reporter("vault")
_SERVER = ("reachable", "initialized", "unsealed", "active-node", "tls", "tls-expiry", "clock-skew")
_TOKEN = ("login", "token-not-root", "token-ttl", "token-renewable")
_PROBE = "lessee-validate"
"""A path that does not exist: Vault answers 404 where a policy allows it."""


def checks(context: ValidationContext) -> Iterator[Check]:
    """The checks of the servers, of the login, and of an agent on this machine."""
    yield Check("vault", _SERVER, partial(_check_servers, context))
    yield Check("vault", _TOKEN, partial(_check_login, context))
    yield Check("vault", ("kv-version-2",), partial(_check_kv_version, context))
    yield Check("vault", ("secret-readable",), partial(_check_readable, context))
    yield Check("vault", ("environments-isolated",), partial(_check_isolation, context))
    yield Check("vault", ("audit-device",), partial(_check_audit, context))
    yield Check("vault", agent_status.NAMES, partial(_check_agent, context))


def _check_servers(context: ValidationContext) -> Iterator[Result]:
    health = context.health()
    healthy = [node for node in health if not node.error]
    errors = [f"{node.url}: {node.error}" for node in health if node.error]
    todo = "start it, or correct vault.address, or the network"
    if not healthy:
        yield _REPORTER.critical("reachable", f"Vault does not answer: {'; '.join(errors)}", todo)
        return
    if errors:
        yield _REPORTER.warning("reachable", f"some nodes of Vault do not answer: {'; '.join(errors)}", todo)
    else:
        urls = ", ".join(node.url for node in healthy)
        yield _REPORTER.passed("reachable", f"Vault connection successful ({urls})")
    yield from _check_state(healthy)
    yield _check_active(context, healthy)
    yield _check_tls(context, [node.url for node in healthy])
    yield _check_certificates(context, healthy)
    yield _check_clock(healthy)


def _check_state(healthy: list[Health]) -> Iterator[Result]:
    if not any(node.initialized for node in healthy):
        todo = "initialize it: `lessee setup --init DIR`, or `bao operator init`"
        yield _REPORTER.critical("initialized", "Vault is not initialized", todo)
        yield _REPORTER.skipped("unsealed", "Vault is not initialized")
        return
    yield _REPORTER.passed("initialized", "Vault is initialized")
    if sealed := [node.url for node in healthy if node.sealed]:
        todo = "unseal it: `bao operator unseal`, once for each key of the threshold"
        yield _REPORTER.critical("unsealed", f"Vault is sealed: {', '.join(sealed)}", todo)
    else:
        yield _REPORTER.passed("unsealed", "Vault is unsealed")


def _check_active(context: ValidationContext, healthy: list[Health]) -> Result:
    check = "active-node"
    if any(node.active for node in healthy):
        return _REPORTER.passed(check, "an active node answers")
    if all(node.sealed for node in healthy):
        return _REPORTER.skipped(check, "Vault is sealed")
    try:
        context.client()
    except CheckSkippedError:
        todo = "start nodes until they have a majority: `bao operator raft list-peers`"
        return _REPORTER.critical(check, "only standby nodes answer, and no node is active", todo)
    return _REPORTER.passed(check, "a standby node forwards requests to the active node")


def _check_tls(context: ValidationContext, urls: list[str]) -> Result:
    plaintext = [url for url in urls if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or "")]
    if plaintext:
        todo = "give Vault's listener a certificate, and write https:// in vault.address"
        text = f"tokens and secrets cross the network without TLS: {', '.join(plaintext)}"
        return _REPORTER.critical("tls", text, todo)
    if context.config.vault.tls_skip_verify and any(url.startswith("https://") for url in urls):
        todo = "remove `tls_skip_verify: true`, and set vault.ca_file"
        return _REPORTER.critical("tls", "Vault's certificate is not verified: another server may answer", todo)
    is_encrypted = all(url.startswith("https://") for url in urls)
    return _REPORTER.passed("tls", "TLS, certificate verified" if is_encrypted else "HTTP on loopback only")


def _check_certificates(context: ValidationContext, healthy: list[Health]) -> Result:
    certificates = [node.certificate for node in healthy if node.certificate is not None]
    if not certificates:
        return _REPORTER.skipped("tls-expiry", "no TLS")
    left = min(_not_after(certificate) for certificate in certificates) - context.now
    todo = "issue a new certificate, and let Vault reload it (SIGHUP)"
    return thresholds.expiry(_REPORTER, "tls-expiry", "Vault's certificate", left, todo)


def _not_after(certificate: bytes) -> float:
    from cryptography import x509  # noqa: PLC0415  # Only this check needs it.

    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()


def _check_clock(healthy: list[Health]) -> Result:
    # The server reports whole seconds, which on average are half a second old.
    differences = [node.received_at - node.server_time - 0.5 for node in healthy if node.server_time is not None]
    if differences:
        return thresholds.skew(_REPORTER, "clock-skew", "Vault", max(differences, key=abs))
    return _REPORTER.skipped("clock-skew", "Vault does not report its time")


def _check_login(context: ValidationContext) -> Iterator[Result]:
    method = str(context.config.vault.auth.__struct_config__.tag)
    try:
        context.log_in()
    except LesseeError as exc:
        if isinstance(exc, VaultUnreachableError) and not any(node.active for node in context.health()):
            raise CheckSkippedError("Vault is unavailable") from None
        todo = exc.todo or "check vault.auth and $VAULT_TOKEN, and whether the credentials are still valid"
        if method == "approle" and isinstance(exc, DeniedError):
            todo = "write new ones: remove the old files, then `lessee setup --output DIR`"
        yield _REPORTER.critical("login", f"the login with {method} fails: {exc.what}", todo)
        return
    client = context.identity()
    yield _REPORTER.passed("login", f"Vault login by {method} works")
    try:
        token = client.request("GET", "auth/token/lookup-self").data
    except VaultRequestError as exc:
        raise CheckSkippedError(f"the token may not look itself up: {exc.what}") from None
    yield from _check_token(token)


def _check_token(token: Mapping[str, Any]) -> Iterator[Result]:
    if "root" in (token.get("policies") or ()):
        todo = "use a login such as AppRole, with a policy: `lessee check --policy` prints the least one"
        yield _REPORTER.critical("token-not-root", "the token is a root token, with all permissions", todo)
    else:
        yield _REPORTER.passed("token-not-root", "the token is not a root token")
    ttl, whole = float(token.get("ttl") or 0), float(token.get("creation_ttl") or 0)
    yield thresholds.token_ttl(_REPORTER, "token-ttl", ttl, whole)
    if ttl and not token.get("renewable"):
        todo = "create it with token_type=service and without an explicit maximum TTL, or let the agent log in itself"
        text = "the token cannot be renewed, so the agent must log in again"
        yield _REPORTER.warning("token-renewable", text, todo)
    else:
        text = "the token can be renewed" if ttl else "the token does not expire"
        yield _REPORTER.passed("token-renewable", text)


def _check_kv_version(context: ValidationContext) -> Iterator[Result]:
    mount = context.scope.mount
    if context.kv_version() == 1:
        todo = f"enable versions: `bao kv enable-versioning {mount}`"
        yield _REPORTER.warning("kv-version-2", f"{mount}/ is KV version 1: overwritten values are lost", todo)
    else:
        yield _REPORTER.passed("kv-version-2", f"{mount}/ is KV version 2")


def _check_readable(context: ValidationContext) -> Iterator[Result]:
    client, version = context.identity(), context.kv_version()
    named = context.named_secrets()
    usual = [context.scope.secret(path) for path in _usual_paths(context)]
    for ref in dict.fromkeys((*usual, *sorted(named, key=str))):
        try:
            found = client.read_secret(ref, version)
        except VaultRequestError as exc:
            if exc.kind is Kind.DENIED and named and ref not in named:
                continue  # The least policy of an app grants only what its templates read.
            text = f"cannot read {ref}: {exc.what}"
            todo = "grant it in the login's policy: `lessee check --policy` prints the least one"
            yield _REPORTER.critical("secret-readable", text, todo)
        else:
            if not isinstance(found, Secret):
                continue
            yield _REPORTER.passed("secret-readable", f"Vault secret retrieval working ({ref})")
        return
    raise CheckSkippedError(f"none of these secrets exists, or may be read: {', '.join(map(str, usual))}")


def _usual_paths(context: ValidationContext) -> tuple[str, ...]:
    validate = context.config.validate
    cache = validate.mcp_cache.secret if validate.mcp_cache else None
    return (
        (validate.database or DatabaseCheck()).secret,
        (validate.storage or StorageCheck()).secret,
        cache or CACHE_DATABASE,
    )


def _check_isolation(context: ValidationContext) -> Iterator[Result]:
    client, others = context.identity(), sorted(context.config.foreign_environments)
    if not others:
        raise NotConfiguredError("there are no other environments")
    data = "data/" if context.kv_version() != 1 else ""
    folders = [f"{context.scope.mount}/{data}{folder}" for folder in context.other_folders().values()]
    paths = {f"{folder}{path}" for folder in folders for path in (_PROBE, *_usual_paths(context))}
    accessible = _accessible(client, sorted(paths))
    for folder in folders:
        probe = f"{folder}{_PROBE}"
        if probe not in accessible and _may_read(client, probe):
            accessible.append(probe)
    if accessible:
        todo = "limit the policy to this environment's folder, as `lessee setup` does"
        text = f"the login has access to other environments: {', '.join(sorted(accessible))}"
        yield _REPORTER.critical("environments-isolated", text, todo)
    else:
        yield _REPORTER.passed("environments-isolated", f"Vault denies access to {', '.join(others)}")


def _accessible(client: AdminClient, paths: list[str]) -> list[str]:
    """The paths for which the token has capabilities; none where it may not ask for them."""
    try:
        found = client.capabilities(paths)
    except VaultRequestError:
        return []
    return [path for path in paths if set(found[path]) - {"deny"}]


def _may_read(client: AdminClient, path: str) -> bool:
    """Whether Vault allows a request. Raises DeniedError or VaultUnreachableError where that is not known."""
    try:
        client.read(path)
    except VaultRequestError as exc:
        if exc.kind is not Kind.DENIED:
            raise
        return False
    return True


def _check_audit(context: ValidationContext) -> Iterator[Result]:
    client = context.client()
    try:
        devices = client.request("GET", "sys/audit").data
    except VaultRequestError as exc:
        raise CheckSkippedError(f"cannot read the audit devices: {exc.what}; it needs sudo on sys/audit") from None
    if devices:
        yield _REPORTER.passed("audit-device", f"Vault has an audit device ({', '.join(sorted(devices))})")
    else:
        todo = "enable one: `lessee setup`, or an audit stanza in the server's configuration"
        yield _REPORTER.warning("audit-device", "Vault has no audit device, and does not log who reads secrets", todo)


def _check_agent(context: ValidationContext) -> Iterator[Result]:
    yield from context.agent_results(partial(agent_status.check_status, _REPORTER, now=context.now))
