"""Resolves the apps: their directories, their files, and what they inherit."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lessee import config
from lessee.config.fallback import check_last_known_good_files, resolve_fallback
from lessee.config.grammar import scalars
from lessee.config.grammar.app import AppBlock, FileBlock
from lessee.config.grammar.problems import Path, spell
from lessee.config.logins import Logins
from lessee.config.notification import resolve_check, resolve_notify, resolve_ready
from lessee.config.resolution import Resolution, contains

if TYPE_CHECKING:
    from lessee.config.grammar.labels import LabeledApp

_MODE = 0o440  # Readable by owner and group.

FindId = Callable[[str, str], int | None]
"""The number of a `user` or `group` by its name; None if this machine has no such name."""


def any_name(_kind: str, _name: str) -> int | None:
    """The number 0 for each name: for a caller that publishes nothing, perhaps on another machine."""
    return 0


class Apps:
    """The apps of a file, with those of its labels."""

    def __init__(
        self,
        resolution: Resolution,
        logins: Logins,
        *,
        for_child: bool,
        labeled: "Mapping[str, LabeledApp]",
        find_id: FindId,
    ) -> None:
        self._resolution, self._file = resolution, resolution.file
        self._values, self._problems = resolution.values, resolution.problems
        self._logins = logins
        self._identities: dict[str, config.Login] = {
            name: identity.vault for name, identity in logins.identities.items()
        }
        self._identities |= logins.sources
        self._for_child = for_child
        self._labeled = labeled
        self._find_id = find_id
        self.inline_templates: dict[str, config.InlineTemplate] = {}
        """The templates whose text is in the file, by the key that has it."""

    def resolve(self) -> dict[str, config.App]:
        state_dir = self._file.state_dir
        directories = {state_dir: "state_dir"}
        apps = {}
        for name, block in self._file.apps.items():
            path = ("apps", name, "directory")
            other = directories.setdefault(block.directory, spell(path))
            if other != spell(path):
                self._problems.add_dependent(path, f"{other} is the same directory", todo="give each its own directory")
            elif contains(state_dir, block.directory) or contains(block.directory, state_dir):
                what = "it is inside of state_dir, or contains it"
                self._problems.add_dependent(
                    path, what, todo="only the agent may use state_dir: name another directory"
                )
            apps[name] = self._app(name, block)
        self._check_nested_directories(apps)
        check_last_known_good_files(apps, self._problems)
        if any(app.socket or app.credentials for app in apps.values()):
            from lessee.config.read_socket import check_sockets  # noqa: PLC0415  # Few apps have one.

            check_sockets(apps.values(), self._problems)
        return apps

    def _check_nested_directories(self, apps: Mapping[str, config.App]) -> None:
        """An app's directory below another app's file or folder would disappear with that app's next generation."""
        taken: dict[str, str] = {}
        for app in apps.values():
            for file in app.files:
                taken.setdefault(f"{app.directory}/{file.name.partition('/')[0]}", file.name)
        for name, app in apps.items():
            elements = app.directory.split("/")
            for depth in range(2, len(elements) + 1):
                if (place := "/".join(elements[:depth])) in taken:
                    what = f"another app publishes {taken[place]} in {place.rpartition('/')[0]}"
                    todo = "name a directory outside of that one"
                    self._problems.add_dependent(("apps", name, "directory"), what, todo=todo)

    def _app(self, name: str, block: AppBlock) -> config.App:
        path = ("apps", name)
        block = self._with_environment(block, path)
        is_empty = block.files is None and block.env_template is None and not block.env
        if is_empty and not any(at[:-1] == (*path, "env") for at in self._problems.lines):
            todo = "write `files:`, or `env_template:` for `lessee exec`"
            if name in self._labeled:
                todo = "write a label such as lessee.env or lessee.template.app.env"
            self._problems.add_dependent((*path, "files"), "missing; expected a list of files", todo=todo)
        mode = _MODE if block.mode is None else block.mode
        files = tuple(self._files(block, path, mode))
        refresh_interval = block.refresh_interval
        owner = self._owner(block.owner, (*path, "owner"))
        return config.App(
            name=name,
            directory=block.directory,
            files=files,
            mode=mode,
            owner=owner,
            allow_disk=block.allow_disk,
            refresh_interval=self._file.secrets.refresh_interval if refresh_interval is None else refresh_interval,
            env_template=block.env_template,
            public_variables=frozenset(block.public_variables),
            check=resolve_check(block, files, path, self._problems),
            notify=resolve_notify(block, files, owner, self._values, path, self._problems, for_child=self._for_child),
            ready=resolve_ready(block, files, path, self._problems),
            on_expiry=block.on_expiry,
            fallback=resolve_fallback(block, files, self._resolution.environment, path, self._problems),
            vault=self._logins.vault_of(block.vault, (*path, "vault")),
            identities=self._identities,
            socket=self._socket(block, files, path),
            credentials=self._credentials(block, path),
        )

    def _socket(self, block: AppBlock, files: tuple[config.File, ...], path: Path) -> config.ReadSocket | None:
        if block.socket is None:
            return None
        from lessee.config.read_socket import resolve_socket  # noqa: PLC0415  # Few apps have one.

        return resolve_socket(block.socket, block.directory, files, self._file.state_dir, path, self._problems)

    def _credentials(self, block: AppBlock, path: Path) -> config.CredentialSocket | None:
        if block.credentials is None:
            return None
        from lessee.config.read_socket import resolve_credentials  # noqa: PLC0415  # Few apps have one.

        return resolve_credentials(block.credentials, block.directory, self._file.state_dir, path, self._problems)

    def _with_environment(self, app: AppBlock, path: Path) -> AppBlock:
        """The app with a template for the variables of its child that have references."""
        if not self._for_child:
            return app
        inherited = dict[str, str]()
        if any("ref+" in text for text in self._resolution.environ.values()):
            from lessee.config.environment import malformed, references_of  # noqa: PLC0415  # Few have one.

            inherited |= references_of(self._resolution.environ)
            for name, problem in malformed(inherited).items():
                self._problems.add_dependent((*path, "env"), f"${name}: {problem.what}", todo=problem.todo)
                del inherited[name]
        # The file that a label names is for a service with another agent.
        own = app.env if path[1] not in self._labeled else {}
        if not (inherited or own):
            return app
        from lessee.config.environment import template_of  # noqa: PLC0415  # Few apps have one.

        text = template_of(inherited | own, before=app.env_template)
        return replace(app, env_template=self._inline_template((*path, "env"), text))

    def _inline_template(self, path: Path, text: str) -> str:
        """The name of a template whose text is at this key."""
        origin = self._labeled.get(str(path[1]))
        name = origin.spell(path) if origin is not None else spell(path)
        file = origin.source if origin is not None else self._problems.source
        self.inline_templates[name] = config.InlineTemplate(text, file, self._problems.line_of(path))
        return name

    def _files(self, app: AppBlock, at: Path, mode: int) -> Iterator[config.File]:
        names: dict[str, Path] = {}
        folders: dict[str, Path] = {}
        owner = self._owner(app.owner, (*at, "owner"))
        for path, block in (*self._resolution.items((*at, "files"), FileBlock), *self._env_file(app, at)):
            template = block.template
            if template is None:
                if block.contents is None:
                    continue  # The reader has reported what is wrong with it.
                has_key = (*path, "contents") in self._problems.lines
                template = self._inline_template((*path, "contents") if has_key else path, block.contents)
                if block.name is None:
                    what = "missing; a template without a path has no name"
                    self._problems.add_dependent((*path, "name"), what, todo="write `name:`")
            name = block.name or self._default_name(template, path)
            if names.setdefault(name, path) is not path:
                what = f"{spell(names[name])} has the same name"
                self._problems.add_dependent((*path, "name"), what, todo="write another `name:`")
            elements = name.split("/")
            above = ["/".join(elements[:depth]) for depth in range(1, len(elements))]
            folders = dict.fromkeys(above, path) | folders
            if (file := next((folder for folder in above if folder in names), None)) is not None:
                what = f"{spell(names[file])} is a file named {file}, which cannot be a directory too"
                self._problems.add_dependent((*path, "name"), what, todo="rename one of them")
            elif name in folders:
                what = f"{spell(folders[name])} is a file in the directory {name}, which cannot be a file too"
                self._problems.add_dependent((*path, "name"), what, todo="rename one of them")
            kind = block.format or config.default_format(name)
            self._values[(*path, "format")] = kind
            yield config.File(
                template=template,
                name=name,
                format=kind,
                mode=mode if block.mode is None else block.mode,
                owner=self._owner(block.owner, (*path, "owner")) or owner,
            )

    def _owner(self, owner: tuple[int | str, int | str | None] | None, path: Path) -> tuple[int, int | None] | None:
        """The uid and the gid."""
        if owner is None:
            return None
        uid, gid = owner
        return self._id("user", uid, path), None if gid is None else self._id("group", gid, path)

    def _id(self, kind: str, name: int | str, path: Path) -> int:
        if isinstance(name, int):
            return name
        number = self._find_id(kind, name)
        if number is None:
            what = f"the agent's machine has no {kind} {name}"
            todo = f"write the number that `{'id -u' if kind == 'user' else 'id -g'}` prints where the app runs"
            self._problems.add_dependent(path, what, todo=todo)
        return number or 0

    def _env_file(self, app: AppBlock, at: Path) -> Iterator[tuple[Path, FileBlock]]:
        """The file of the app's `env`, with the key that names it."""
        if not app.env or (app.env_file is None and self._for_child):
            return
        from lessee.config.environment import FILE, template_of  # noqa: PLC0415  # Few apps have one.

        name = app.env_file or FILE
        kind = config.default_format(name)
        if kind not in {"dotenv", "sh"}:
            what = "its name is not that of a file of variables"
            self._problems.add_dependent((*at, "env_file"), what, todo="write a name such as app.env or env.sh")
        yield (*at, "env_file"), FileBlock(name=name, contents=template_of(app.env, exports=kind == "sh"))

    def _default_name(self, template: str, path: Path) -> str:
        name = template.rpartition("/")[2].removesuffix(".j2")
        scalar = scalars.scalar_of(scalars.FileName)
        try:
            return str(scalar.read(name))
        except ValueError:
            what = f"missing, and the template's name does not yield {scalar.expected}"
            self._problems.add_dependent((*path, "name"), what, todo="write `name:`")
            return name
