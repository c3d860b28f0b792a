"""What an app's templates read, with the app's own login: secrets are read, and what Vault makes is not asked for."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import assert_never

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Dynamic, Folder, Need, Ref
from lessee.core.secrets import Secret
from lessee.ops.validate.concurrency import each
from lessee.ops.validate.context import Subject
from lessee.ops.validate.policy.trial_files import Tried, try_files
from lessee.rendering.app_templates import Recipe
from lessee.rendering.render import Inputs
from lessee.vault.admin import AdminClient, request_error
from lessee.vault.engines import kv
from lessee.vault.transport import RequestFailedError

_SHARE = 0.6
_Seen = Secret | Mapping[str, Secret] | Failure | None


class Read(ImmutableStruct, frozen=True):
    """What was read. `faults`: what was not, and why, in words without a value."""

    hidden = ("seen",)

    seen: Mapping[Need, Secret | Mapping[str, Secret]]
    faults: tuple[str, ...]


def read(subject: Subject, recipe: Recipe) -> Read:
    """Raises NotLookedError, RefusedError or VaultUnreachableError where the app cannot log in."""
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
    if all(isinstance(need, Dynamic) for need in recipe.needs):
        return 2
    try:
        return kv.mount_version(client.transport, client.token, recipe.space.mount)
    except RequestFailedError as exc:
        raise request_error(exc.failure, recipe.space.mount) from None


def _look(client: AdminClient, kv_version: int, need: Need) -> _Seen:
    """None of what is allowed, and not asked for."""
    try:
        match need:
            case Ref():
                return kv.read(client.transport, client.token, need, kv_version)
            case Folder():
                return dict(_folder(client, kv_version, need))
            case Dynamic():
                return _may_ask(client, need)
            case _:
                assert_never(need)
    except RequestFailedError as exc:
        return exc.failure


def _folder(client: AdminClient, kv_version: int, folder: Folder) -> Iterator[tuple[str, Secret]]:
    for name in kv.list_folder(client.transport, client.token, folder, kv_version, detailed=False):
        yield name, kv.read(client.transport, client.token, folder.ref(name), kv_version)


def _may_ask(client: AdminClient, need: Dynamic) -> Failure | None:
    """By the login's policy alone: asking would issue credentials that somebody has to revoke."""
    path, wanted = need.path, "update" if need.method == "POST" else "read"
    if need.local_key:
        before, _, role = path.rpartition("/issue/")
        path = f"{before}/sign/{role}"
    body = {"paths": [path]}
    found = client.transport.ask("POST", "sys/capabilities-self", token=client.token, body=body, changes=False).data
    if {wanted, "root"} & set(found.get(path) or ()):
        return None
    return Failure(Kind.DENIED, f"the policy does not grant {wanted} on {path}")
