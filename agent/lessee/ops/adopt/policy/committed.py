"""What an adopted project tells its clones in `lessee/adoption.json`, and whether a clone can be believed.

The file has no secret. A clone may come from anyone, so all of its files are checked before anything is done with them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import msgspec

from lessee.config import Config, Vault, logins_of
from lessee.config.grammar import scalars
from lessee.config.grammar.setup import Setup
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.adopt.policy.edits import COMPOSE_FILE, is_reference
from lessee.ops.adopt.policy.model import AdoptedField, Deployment, Rendered

FILE = "lessee/adoption.json"
CONFIG = "lessee/lessee.yaml"
_ID = re.compile(r"[0-9a-f]{16}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""A name of Compose."""
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_LINE = re.compile(r"(?:# *)?(?:export +)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)=.*|ref\+openbao://\S+")
_OWN = frozenset({".git", ".lessee", "lessee"})
"""Folders that are not for the variables of a project."""


class Committed(ImmutableStruct, frozen=True):
    """The adoption as all clones of the project share it."""

    id: str
    """Distinguishes the project from others of the same name."""
    project: str
    environment: str
    files: tuple[str, ...]
    """The Compose files of the project, without the override."""
    deployment: Deployment
    uses: tuple[tuple[str, str], ...]
    stored: tuple[AdoptedField, ...]
    rendered: tuple[Rendered, ...]
    references: Mapping[str, tuple[str, ...]] = {}
    """The lines with references in the files that are no Compose files: git may ignore these."""
    generated: Mapping[str, str] = {}
    """SHA-256 of adopt's other files as adopt wrote them, by path: a file with another one has a person's changes."""
    version: int = 1


def text_of(committed: Committed) -> str:
    """The text of the file."""
    return msgspec.json.format(msgspec.json.encode(committed)).decode() + "\n"


def read(content: bytes) -> Committed:
    """The adoption in the text of the file. Raises ConfigError where adopt would not have written it."""
    try:
        found = msgspec.json.decode(content, type=Committed)
    except msgspec.DecodeError:
        raise ConfigError([_problem("not a file of this version of `lessee adopt`")]) from None
    if problems := tuple(_problems(found)):
        raise ConfigError(map(_problem, problems))
    return found


def references_in(content: bytes) -> tuple[str, ...]:
    """The lines of an edited file that have a reference."""
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    return tuple(line for line in lines if is_reference(line) and _LINE.fullmatch(line))


def is_contained(name: str) -> bool:
    """Whether the path is one of the project's own files: below its folder, and not where git or lessee have theirs."""
    parts = PurePosixPath(name).parts
    is_plain = bool(parts) and "/".join(parts) == name and name.isprintable() and not name.startswith("/")
    return is_plain and ".." not in parts and parts[0] not in _OWN


def check_configuration(committed: Committed, config: Config, expected: Config) -> None:
    """Raises ConfigError where the clone's lessee.yaml would do more than what `lessee adopt` writes.

    `config`: read with the address of `expected` as $VAULT_ADDR; `expected`: what this user's own Vault needs.
    """
    if problems := tuple(_of_configuration(committed, config, expected)):
        raise ConfigError(LesseeError(what, where=f"{CONFIG}: {key}", todo=_TODO) for key, what in problems)


def added_lines(content: bytes | None, stored: str | None, references: Sequence[str]) -> str:
    """The text to add to a file of a clone; `content`: what it has, `stored`: what the file of another clone has.

    A file that exists keeps what it says: only variables that it does not name are added.
    """
    if content is None:
        return stored if stored is not None else "".join(f"{line}\n" for line in references)
    text = content.decode("utf-8-sig", errors="replace")
    known = {found["name"] for line in text.splitlines() if (found := _LINE.fullmatch(line.strip()))}
    lines = [line for line in references if (found := _LINE.fullmatch(line)) and found["name"] not in {*known, None}]
    if not lines:
        return ""
    before = "\n" if content and not content.endswith(b"\n") else ""
    return before + "".join(f"{line}\n" for line in lines)


def has_plaintext(content: bytes, references: Sequence[str]) -> bool:
    """Whether a file sets one of these variables to a value of its own."""
    names = {found["name"] for line in references if (found := _LINE.fullmatch(line))} - {None}
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    own = (found for line in lines if not is_reference(line) and (found := _LINE.fullmatch(line.strip())))
    return any(found["name"] in names and not found[0].startswith("#") for found in own)


def _problems(found: Committed) -> Iterator[str]:
    if found.version != 1:
        yield f"version {found.version} is of another version of lessee"
    if not _ID.fullmatch(found.id):
        yield "id is not one of `lessee adopt`"
    if not _is_name(found.environment):
        yield "environment is no name of an environment"
    if not _PROJECT.fullmatch(found.project):
        yield "project is no name of a Compose project"
    if not _IMAGE.fullmatch(found.deployment.image):
        yield "image is no name of an image"
    for name in found.files:
        if not is_contained(name) or not name.endswith((".yaml", ".yml")):
            yield f"{name!r} in files is no Compose file of the project"
    if not found.files:
        yield "files names no Compose file"
    for name, lines in found.references.items():
        if not is_contained(name) or name.endswith((".yaml", ".yml")):
            yield f"{name!r} in references is no file of variables of the project"
        if not all(map(_is_reference_line, lines)):
            yield f"references of {name!r} have a line that is no reference"


def _is_name(text: str) -> bool:
    try:
        scalars.scalar_of(scalars.Name).read(text)
    except ValueError:
        return False
    return True


def _is_reference_line(line: str) -> bool:
    found = _LINE.fullmatch(line)
    return found is not None and line.isprintable() and is_reference(line) and found["name"] != COMPOSE_FILE


def _of_configuration(committed: Committed, config: Config, expected: Config) -> Iterator[tuple[str, str]]:
    if config.environment != committed.environment:
        yield "environment", f"{FILE} names {committed.environment}"
    if config.setup != Setup(environments=(committed.environment,), project=committed.project):
        yield "setup", "it sets up more than the roles of this project's services"
    if config.secrets != expected.secrets or config.identities:
        yield "secrets", "the templates would read outside of the environment"
    if any(_connection(one) != _connection(expected.vault) for one in logins_of(config)):
        yield "vault", f"a login is not for your Vault at {expected.vault.address}, or does not verify it as adopt does"


def _connection(vault: Vault) -> tuple[object, ...]:
    return (vault.address, vault.addresses, vault.namespace, vault.tls_server_name, vault.tls_skip_verify)


def _problem(what: str) -> LesseeError:
    return LesseeError(what, where=FILE, todo=_TODO)


_TODO = "restore the file as it was committed; if you do not know who wrote it, do not start this project"
