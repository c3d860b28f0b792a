"""Wraps the servers in a project's MCP configurations for `lessee adopt`, and puts the files back.

`plan_mcp` reads, `apply_mcp` writes, `undo_mcp` puts back. The original bytes are the caller's to store: adopt has them
in Vault (`McpPlan.originals`) before anything is written.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.user_file import UserFile, open_user_file
from lessee.ops.adopt.files import digest, real_path
from lessee.ops.adopt.policy.mcp_clients import CLIENTS, Client
from lessee.ops.adopt.policy.model import ManualStep
from lessee.ops.adopt.record import FOLDER, McpEdit
from lessee.ops.mcp.config_file import McpConfig
from lessee.ops.mcp.policy import jsonc
from lessee.ops.mcp.policy.config_text import VaultAccess
from lessee.ops.mcp.policy.secret_detection import SecretDetector
from lessee.ops.mcp.policy.servers import has_servers
from lessee.ops.mcp.wrapping import Wrapping, prepare

CONFIG = "lessee/mcp/lessee.yaml"
"""Below the project's folder; the templates are next to it."""
PREFIX = "mcp"
"""The secret of a server is `mcp/SERVER`, below the environment's prefix."""

_BY_HAND = f"write the secrets of its servers back yourself: `bao kv get` of {PREFIX}/SERVER prints them"

Report = Callable[[str], None]


class McpFile(ImmutableStruct, frozen=True):
    """A file with servers to wrap. `path` is relative to the project's folder."""

    hidden = ("original",)

    client: Client
    original: bytes
    servers: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Of each server: its path in the file, the path of its secret, and the names of the secret's fields."""

    @property
    def path(self) -> str:
        """The path of the file, below the project's folder."""
        return self.client.path


class McpPlan(ImmutableStruct, frozen=True):
    """The files to change, and what is left to a person."""

    files: tuple[McpFile, ...] = ()
    steps: tuple[ManualStep, ...] = ()

    @property
    def originals(self) -> dict[str, bytes]:
        """The bytes of the files before the change."""
        return {file.path: file.original for file in self.files}

    def lines(self) -> Iterator[str]:
        """What the plan does, without values."""
        for file in self.files:
            yield f"{file.path} ({file.client.name}):"
            for server, secret, fields in file.servers:
                how = ", restarted within the session" if file.client.has_long_sessions else ""
                yield f"  {server}: {', '.join(fields)} → {secret}; started by `lessee exec`{how}"


def plan_mcp(folder: Path, environ: Mapping[str, str], access: VaultAccess | None = None) -> McpPlan:
    """Plan the change of all known files in a project's folder. What cannot be wrapped is left to a person.

    `access`: how the servers reach Vault; None: as $VAULT_ADDR and `bao login` say.
    """
    files, steps = [], []
    for client in CLIENTS:
        path = folder / client.path
        if not path.is_file():
            continue
        try:
            with open_user_file(path, "lessee adopt") as file:
                if not has_servers(jsonc.parse(file.text, path.name)):
                    continue
                real_path(folder, client.path)
                wrapping = _prepare(file, client, folder, environ, access)
                if wrapping.config is not None:
                    file.check_writable()
        except LesseeError as exc:
            todo = f"correct that, or run `lessee mcp wrap {client.path}` yourself"
            steps.append(ManualStep(client.path, str(exc), todo))
            continue
        steps += [ManualStep(_placed(step.where, client), step.what, step.todo) for step in wrapping.steps]
        if wrapping.config is not None:
            servers = tuple(
                (one.server.path, one.secret, tuple(sorted(one.fields))) for one in wrapping.planned.wrapped
            )
            files.append(McpFile(client, file.content, servers))
    return McpPlan(tuple(files), tuple(steps))


def apply_mcp(
    plan: McpPlan, folder: Path, environ: Mapping[str, str], report: Report, access: VaultAccess | None = None
) -> Iterator[McpEdit]:
    """Store the secrets, and write each file last; yields what the record has to have before the file is written.

    A killed run is completed by the next one. Raises LesseeError.
    """
    for planned in plan.files:
        path = folder / planned.path
        with open_user_file(path, "lessee adopt") as file:
            if file.content != planned.original:
                raise WriteError("the file was changed since it was read", where=str(path), todo="run adopt again")
            # Prepared again: the file before this one may have added to the configuration.
            wrapping = _prepare(file, planned.client, folder, environ, access)
            wrapping.store(environ, planned.path, report)
            yield McpEdit(planned.path, digest(file.content), digest(wrapping.text.encode()))
            file.replace(wrapping.text.encode(), folder / FOLDER)
            report(f"{planned.path} was rewritten; restart {planned.client.name}")


def undo_mcp(folder: Path, edits: Sequence[McpEdit], originals: Mapping[str, bytes]) -> tuple[ManualStep, ...]:
    """Put the files back, byte for byte. One that a person has changed since then stays, and is named."""
    steps = []
    for edit in edits:
        path = folder / edit.path
        try:
            with open_user_file(path, "lessee adopt") as file:
                now = digest(file.content)
                if now == edit.after:
                    file.replace(originals[edit.path], folder / FOLDER)
                elif now != edit.before:
                    what = "the file was changed since it was adopted, so adopt does not put it back"
                    steps.append(ManualStep(edit.path, what, _BY_HAND))
        except LesseeError as exc:
            steps.append(ManualStep(edit.path, str(exc), _BY_HAND))
    return tuple(steps)


def written_files(folder: Path) -> dict[str, str]:
    """The configuration and templates of the servers, with the hash of each, by their paths in the project."""
    files = sorted(path for path in (folder / CONFIG).parent.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest(path.read_bytes()) for path in files}


def _prepare(
    file: UserFile, client: Client, folder: Path, environ: Mapping[str, str], access: VaultAccess | None
) -> Wrapping:
    def config() -> McpConfig:
        return McpConfig(str(folder / CONFIG), environ, respawn=client.has_long_sessions, access=access)

    return prepare(file, SecretDetector(), config, prefix=PREFIX)


def _placed(where: str, client: Client) -> str:
    """The place of a step, which names the file without its folder."""
    return f"{client.path}{where.removeprefix(Path(client.path).name)}"
