"""The lessee.yaml of an imported env file: a new file, or an app that is added to an existing one."""

from collections.abc import Mapping

from msgspec.structs import replace

from lessee.config import Config
from lessee.config.parsing import parse
from lessee.config.yaml_writer import Entry, Expandable, Keys, write
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.mcp.policy.config_text import add_apps

_ABOUT = (
    "Written by `lessee import`; you may change it. Vault is at $VAULT_ADDR. The agent logs in with your token: "
    "for production, set vault.address and vault.auth."
)
MEMORY = "${XDG_RUNTIME_DIR:-/run}"
"""Where users with a session, and root, have a directory in memory."""


class EnvApp(ImmutableStruct, frozen=True):
    """The app of an env file."""

    name: str
    template: str
    file: str
    format: str
    memory: str = MEMORY
    """A directory on tmpfs, whose variables the agent expands."""

    @property
    def directory(self) -> str:
        """The directory of its file."""
        return f"{self.memory}/secrets/{self.name}"

    def keys(self) -> Keys:
        """Its keys in lessee.yaml."""
        file = Keys((("template", self.template), ("name", self.file), ("format", self.format)), flow=True)
        return Keys((("directory", Expandable(self.directory)), ("files", [file])))


def new_config(environment: str, token_file: str | None, app: EnvApp) -> str:
    """The text of a new file. Vault's address is $VAULT_ADDR. `token_file`: of the login; None: $VAULT_TOKEN."""
    auth: list[Entry] = []
    if token_file is not None:
        auth = [("vault", Keys((("auth", Keys((("method", "token"), ("token_file", token_file)), flow=True)),)))]
    return write(
        Keys(
            (
                _ABOUT,
                ("environment", environment),
                *auth,
                ("state_dir", Expandable(f"{app.memory}/lessee")),
                ("apps", Keys(((app.name, app.keys()),))),
            )
        )
    )


def with_app(text: str, source: str, app: EnvApp, environ: Mapping[str, str]) -> str:
    """The text of an existing file with the app; the text itself if it has the same app.

    Raises ConfigError if it has another app of this name, or if the app would change the rest of the file.
    """
    before = parse(text, source=source, environ=environ)
    if (existing := before.apps.get(app.name)) is not None:
        if [(file.template, file.name, file.format) for file in existing.files] == [
            (app.template, app.file, app.format)
        ]:
            return text
        what, todo = f"there is another app with the name {app.name}", "pass another name with --app"
        raise ConfigError([LesseeError(what, where=f"{source}: apps.{app.name}", todo=todo)])
    added = add_apps(text, source, [app])
    after = parse(added, source=source, environ=environ)
    rest = {name: one for name, one in after.apps.items() if name != app.name}
    if app.name not in after.apps or replace(after, apps=rest) != replace(before, apps=dict(before.apps)):
        lines = "".join(f"  {line}" for line in write(Keys(((app.name, app.keys()),))).splitlines(keepends=True))
        todo = f"add these lines to `apps`, and run this command again:\n{lines.rstrip()}"
        raise ConfigError(
            [LesseeError("lessee cannot add an app to the file as it is written", where=source, todo=todo)]
        )
    return added


def config_of(text: str, source: str, app: str, environ: Mapping[str, str]) -> Config:
    """The configuration with this app alone."""
    config = parse(text, source=source, environ=environ)
    return replace(config, apps={app: config.apps[app]})
