"""Reads what an app's templates reference, with the app's own login. Dynamic secrets are not issued."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import assert_never

from lessee.config import Source
from lessee.core.errors import DeniedError, VaultRequestError
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret
from lessee.ops.validate.checks import CheckSkippedError
from lessee.ops.validate.concurrency import map_concurrently
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.policy.trial_files import RenderedFiles, render_files
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.render import Inputs
from lessee.vault.admin import AdminClient

_SHARE = 0.6
_Result = Secret | Mapping[str, Secret] | Failure | None


class References(ImmutableStruct, frozen=True):
    """What was read. `errors`: why other things could not be read, without a value."""

    hidden = ("secrets",)

    secrets: Mapping[Need, Secret | Mapping[str, Secret]]
    errors: Mapping[Need, str]


def read_references(context: ValidationContext, compiled_app: CompiledApp) -> References:
    """Raises CheckSkippedError, DeniedError or VaultUnreachableError where the app cannot log in."""
    by_login: dict[AdminClient, set[Need]] = {}
    for need in compiled_app.references:
        login = compiled_app.app.login_of(need.identity)
        if isinstance(login, Source):
            # What it reads is on the machine of the agent.
            raise CheckSkippedError(f"it reads the source {need.identity!r}, which only the agent can")
        by_login.setdefault(context.login_of(login), set()).add(need)
    results: dict[Need, _Result] = {}
    for client, needs in by_login.items():
        read = partial(_read, client, _kv_versions(client, needs))
        results |= map_concurrently(needs, read, context.timeout * _SHARE)
    for need in compiled_app.optional:
        if isinstance(result := results.get(need), Failure) and result.kind is Kind.NOT_FOUND:
            results[need] = None
    errors = {need: "no answer in time" for need in compiled_app.references if need not in results}
    errors |= {need: result.text for need, result in results.items() if isinstance(result, Failure)}
    secrets = {
        reference: result
        for reference, result in results.items()
        if result is not None and not isinstance(result, Failure)
    }
    return References(secrets, errors)


def render(context: ValidationContext, compiled_app: CompiledApp, references: References) -> RenderedFiles:
    """The files as they would be now."""
    found = references.secrets.items()
    secrets = {need: secret for need, secret in found if isinstance(need, Ref) and isinstance(secret, Secret)}
    folders = {need: some for need, some in found if isinstance(need, Folder) and not isinstance(some, Secret)}
    return render_files(compiled_app, Inputs(secrets, folders, {}, context.environ))


def _kv_versions(client: AdminClient, needs: Iterable[Need]) -> Mapping[str, int]:
    """The versions of the KV mounts from which they read."""
    mounts = {need.mount for need in needs if not isinstance(need, DynamicSecret)}
    return {mount: client.kv_version(mount) for mount in mounts}


def _read(client: AdminClient, kv_versions: Mapping[str, int], need: Need) -> _Result:
    """None for a dynamic secret that the login may issue."""
    try:
        match need:
            case Ref():
                return _secret(client, kv_versions[need.mount], need)
            case Folder():
                return dict(_folder(client, kv_versions[need.mount], need))
            case DynamicSecret():
                return _check_capability(client, need)
            case _:
                assert_never(need)
    except VaultRequestError as exc:
        return Failure(exc.kind, exc.what)


def _folder(client: AdminClient, kv_version: int, folder: Folder) -> Iterator[tuple[str, Secret]]:
    for name in client.list_secrets(folder, kv_version):
        yield name, _secret(client, kv_version, folder.ref(name))


def _secret(client: AdminClient, kv_version: int, ref: Ref) -> Secret:
    found = client.read_secret(ref, kv_version)
    if not isinstance(found, Secret):
        what = "the secret does not exist" if found is None else "the secret is deleted"
        raise DeniedError(what, kind=Kind.NOT_FOUND)
    return found


def _check_capability(client: AdminClient, need: DynamicSecret) -> Failure | None:
    """Check the login's policy only: a request would issue credentials that someone must revoke."""
    path, capability = need.path, need.capability
    if need.local_key:
        before, _, role = path.rpartition("/issue/")
        path = f"{before}/sign/{role}"
    if {capability, "root"} & set(client.capabilities([path])[path]):
        return None
    return Failure(Kind.DENIED, f"the policy does not grant {capability} on {path}")
