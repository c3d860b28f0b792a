"""What an app's templates read, with the app's own login: secrets are read, and what Vault makes is not asked for."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import assert_never

from lessee.core.errors import DeniedError, VaultRequestError
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret
from lessee.ops.validate.concurrency import each
from lessee.ops.validate.context import Subject
from lessee.ops.validate.policy.trial_files import Tried, try_files
from lessee.rendering.app_templates import Recipe
from lessee.rendering.render import Inputs
from lessee.vault.admin import AdminClient

_SHARE = 0.6
_Seen = Secret | Mapping[str, Secret] | Failure | None


class Read(ImmutableStruct, frozen=True):
    """What was read. `faults`: what was not, and why, in words without a value."""

    hidden = ("seen",)

    seen: Mapping[Need, Secret | Mapping[str, Secret]]
    faults: tuple[str, ...]


def read(subject: Subject, recipe: Recipe) -> Read:
    """Raises NotLookedError, DeniedError or VaultUnreachableError where the app cannot log in."""
    client = subject.login_of(recipe.app.vault)
    kv_version = _version(client, recipe)
    seen = each(recipe.needs, partial(_look, client, kv_version), subject.timeout * _SHARE)
    faults = [f"{need}: no answer in time" for need in recipe.needs if need not in seen]
    faults += [f"{need}: {one.text}" for need, one in seen.items() if isinstance(one, Failure)]
    good = {need: one for need, one in seen.items() if one is not None and not isinstance(one, Failure)}
    return Read(good, tuple(faults))


def try_out(subject: Subject, recipe: Recipe, found: Read) -> Tried:
    """The files, as they would be now."""
    secrets = {need: one for need, one in found.seen.items() if isinstance(need, Ref) and isinstance(one, Secret)}
    folders = {
        need: one for need, one in found.seen.items() if isinstance(need, Folder) and not isinstance(one, Secret)
    }
    return try_files(recipe, Inputs(secrets, folders, {}, subject.environ))


def _version(client: AdminClient, recipe: Recipe) -> int:
    """Of the mount, where anything is read from it."""
    if all(isinstance(need, DynamicSecret) for need in recipe.needs):
        return 2
    return client.kv_version(recipe.scope.mount)


def _look(client: AdminClient, kv_version: int, need: Need) -> _Seen:
    """None of what is allowed, and not asked for."""
    try:
        match need:
            case Ref():
                return _secret(client, kv_version, need)
            case Folder():
                return dict(_folder(client, kv_version, need))
            case DynamicSecret():
                return _may_ask(client, need)
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
        raise DeniedError("there is no such secret" if found is None else "it is deleted", kind=Kind.NOT_FOUND)
    return found


def _may_ask(client: AdminClient, need: DynamicSecret) -> Failure | None:
    """By the login's policy alone: asking would issue credentials that somebody has to revoke."""
    path, wanted = need.path, "update" if need.method == "POST" else "read"
    if need.local_key:
        before, _, role = path.rpartition("/issue/")
        path = f"{before}/sign/{role}"
    if {wanted, "root"} & set(client.capabilities([path])[path]):
        return None
    return Failure(Kind.DENIED, f"the policy does not grant {wanted} on {path}")
