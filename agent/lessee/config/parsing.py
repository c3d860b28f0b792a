"""Parses the text of lessee.yaml into a Config."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from msgspec.structs import replace

from lessee import config
from lessee.config import Config
from lessee.config.fallback import check_last_known_good_files, resolve_fallback
from lessee.config.grammar import Lessee, scalars
from lessee.config.grammar.app import AppBlock, FileBlock
from lessee.config.grammar.audit_trail import AuditTrail
from lessee.config.grammar.nodes import compose, entries_of
from lessee.config.grammar.problems import Path, Problems, spell
from lessee.config.grammar.reader import Reader
from lessee.config.grammar.validate import Provider, Validate
from lessee.config.grammar.vault import AppRole, AwsAuth, CertAuth, IdentityBlock, JwtAuth, KvMountBlock, VaultBlock
from lessee.config.monitor import check_monitor, check_responses
from lessee.config.notification import resolve_check, resolve_notify, resolve_ready
from lessee.config.rotation import check_rotation
from lessee.config.setup import check_setup
from lessee.config.status import resolve_listener
from lessee.core.errors import ConfigError
from lessee.core.variables import VariableScope

if TYPE_CHECKING:
    from lessee.config.grammar.labels import LabeledApp

_T = TypeVar("_T")
_MODE = 0o440  # Readable by owner and group.
_ENVIRONMENT = "{environment}"


FindId = Callable[[str, str], int | None]
"""The number of a `user` or `group` by its name; None if this machine has no such name."""


def any_name(_kind: str, _name: str) -> int | None:
    """The number 0 for each name: for a caller that publishes nothing, perhaps on another machine."""
    return 0


def parse(  # noqa: PLR0913  # Each command sets two or three of them.
    text: str,
    *,
    source: str,
    environ: Mapping[str, str],
    for_child: bool = False,
    environment: str | None = None,
    blocks: Collection[str] = (),
    refused: dict[str, ConfigError] | None = None,
    load_model: Callable[[str], str] | None = None,
    checks_responses: bool = False,
    find_id: FindId = any_name,
) -> Config:
    """The configuration, with all defaults filled in.

    `source` is the name of the file in errors. `for_child`: `lessee exec` reads the file. `environment` overrides the
    file's. `blocks` are the operator blocks that the command uses: only in these, variables are expanded.
    `checks_responses`: also those of a monitor whose block the command does not use.
    `refused` receives the problems of single apps, which are then missing in the result; by default they are problems
    of the file. `load_model` returns the text of the Compose model whose name `compose.file` is, or raises ConfigError;
    without it, the labels have no apps. `find_id` returns the number of a user or group of this machine; by default,
    any name is valid. Raises ConfigError with all problems of the file, in the order of their lines.
    """
    problems = Problems(source)
    reader = Reader(problems, environ, blocks)
    file = reader.read(compose(text, source))
    if environment is not None:
        file = replace(file, environment=environment)
    labeled: Mapping[str, LabeledApp] = {}
    if file.compose is not None and load_model is not None:
        # Imported on use: few configurations have apps of labels.
        from lessee.config.labels import with_labeled_apps  # noqa: PLC0415

        file, labeled = with_labeled_apps(file, file.compose, load_model(file.compose.file), reader, problems)
    resolved = _Resolver(
        file, reader.values, problems, environ, for_child=for_child, labeled=labeled, find_id=find_id
    ).resolve()
    if "setup" in blocks:
        check_setup(file, problems)
    if "monitor" in blocks and file.monitor is not None:
        check_monitor(file.monitor, problems)
    elif checks_responses and file.monitor is not None:
        check_responses(file.monitor, problems)
    if "rotation" in blocks:
        check_rotation(resolved, problems)
    if refused is not None:
        refused.update(problems.take_apps())
        resolved = replace(resolved, apps={name: app for name, app in resolved.apps.items() if name not in refused})
    problems.raise_all()
    return resolved


def environments(text: str, *, source: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """`setup.environments`, even of a file with problems. Raises ConfigError if the file is not a YAML mapping."""
    return Reader(Problems(source), environ).read(compose(text, source)).setup.environments


def has_block(text: str, name: str, *, source: str) -> bool:
    """Whether the file has this block, even an empty one. Raises ConfigError if the file is not a YAML mapping."""
    return name in entries_of(compose(text, source)).nodes


class _Resolver:
    """Fills in what the grammar leaves open: defaults, inheritance, and checks that involve several keys."""

    def __init__(
        self,
        file: Lessee,
        values: dict[Path, object],
        problems: Problems,
        environ: Mapping[str, str],
        *,
        for_child: bool,
        labeled: "Mapping[str, LabeledApp]",
        find_id: FindId,
    ) -> None:
        self._file = file
        self._find_id = find_id
        self._labeled = labeled
        self._inline: dict[str, config.InlineTemplate] = {}
        self._for_child = for_child
        self._values = values
        self._problems = problems
        self._environ = environ
        self._environment = self._or_variable(file.environment, "LESSEE_ENVIRONMENT", scalars.Name, ("environment",))
        self._foreign = frozenset(file.setup.environments) - {self._environment}
        self._vault = self._top_level_vault()
        self._secrets = self._top_level_secrets()
        self._identities = {name: self._identity(name, block) for name, block in file.identities.items()}
        self._logins = {name: identity.vault for name, identity in self._identities.items()}

    def resolve(self) -> Config:
        file = self._file
        return Config(
            environment=self._environment,
            foreign_environments=self._foreign,
            vault=self._vault,
            secrets=self._secrets,
            identities=self._identities,
            state_dir=file.state_dir,
            status=config.Status(
                socket=file.status.socket or f"{file.state_dir}/status.sock",
                listen=resolve_listener(file.status, self._problems),
            ),
            events=self._events(),
            on_stop=file.leases.on_stop,
            restart=file.exec.restart,
            programs=file.programs,
            child_user=file.exec.user,
            template_dir=file.template_dir,
            template_env=self._template_env(),
            allow_disk=file.allow_disk,
            apps=self._apps(),
            inline_templates=self._inline,
            compose_file=file.compose.file if file.compose is not None else None,
            labeled_apps={
                name: config.LabeledApp(app.service, app.source, app.line) for name, app in self._labeled.items()
            },
            setup=file.setup,
            rotation=file.rotation,
            validate=self._validate(),
            audit_trail=self._audit_trail(),
            backup=file.backup,
            drill=file.drill,
            monitor=file.monitor,
        )

    def _template_env(self) -> frozenset[str] | None:
        scope = VariableScope()
        for path, name in self._items(("template_env",), str):
            if scope.is_of_agent(name):
                self._problems.add_dependent(path, f"{name} is a variable of the agent's own", todo="remove it")
        return frozenset(self._file.template_env) if self._file.template_env is not None else None

    def _events(self) -> config.Events | None:
        block = self._file.events
        if block is None or (block.redis is None and block.socket is None and block.vault is None):
            if block is not None:
                what = "expected `redis`, `socket` or `vault`, found none"
                todo = "name where `lessee monitor` publishes, or write `vault: auto` for Vault Enterprise"
                self._problems.add_dependent(("events",), what, todo=todo)
            return None
        if block.redis is not None and block.socket is not None:
            what = "`redis` is set too, and both deliver the same events"
            self._problems.add_dependent(("events", "socket"), what, todo="remove one of them")
        # The monitor publishes everything that Vault's stream does, and to every identity.
        vault = block.redis is None and block.socket is None
        return config.Events(
            redis=block.redis,
            socket=block.socket,
            vault=vault,
            poll_interval=block.poll_interval,
            jitter=block.jitter,
        )

    def _or_variable(self, value: str | None, variable: str, kind: Any, path: Path) -> str | None:
        text = self._environ.get(variable)
        if value is not None or not text:
            return value
        scalar = scalars.scalar_of(kind)
        try:
            return str(scalar.read(text))
        except ValueError:
            what = f"the file does not set it, and ${variable} is not {scalar.expected}"
            self._problems.add_dependent(path, what, todo=f"set it in the file, or correct ${variable}")
            return None

    def _top_level_vault(self) -> config.Vault:
        block = self._file.vault
        at = ("vault",)
        addresses = self._addresses(block, at)
        first = next(iter(addresses), None)
        address = self._or_variable(first, "VAULT_ADDR", scalars.VaultAddress, (*at, "address"))
        vault = config.Vault(
            address=address or "https://127.0.0.1:8200",  # The default of Vault's own clients.
            addresses=_several(addresses),
            namespace=self._or_variable(block.namespace, "VAULT_NAMESPACE", scalars.MountPath, (*at, "namespace")),
            ca_file=self._or_variable(block.ca_file, "VAULT_CACERT", scalars.FilePath, (*at, "ca_file")),
            tls_server_name=block.tls_server_name,
            client_cert_file=block.client_cert_file,
            client_key_file=block.client_key_file,
            tls_skip_verify=block.tls_skip_verify,
            insecure_http=block.insecure_http,
            auth=block.auth,
        )
        self._check_auth(block, vault, at)
        return vault

    def _vault_of(self, block: VaultBlock | None, at: Path) -> config.Vault:
        """An app's block over the top-level one. Keys that depend on each other come from the same block."""
        if block is None:
            return self._vault
        keys = VaultBlock.__struct_fields__
        own = {key: getattr(block, key) for key in keys if (*at, key) in self._values}
        if addresses := self._addresses(block, at):
            own |= {"address": addresses[0], "addresses": _several(addresses)}
        if own.keys() & {"client_cert_file", "client_key_file"} or isinstance(block.auth, CertAuth):
            own |= {"client_cert_file": block.client_cert_file, "client_key_file": block.client_key_file}
        vault = replace(self._vault, **own)
        self._check_auth(block, vault, at)
        return vault

    def _addresses(self, block: VaultBlock, at: Path) -> tuple[str, ...]:
        if block.address is not None and block.addresses is not None:
            self._problems.add_dependent((*at, "addresses"), "`address` is set too", todo="remove one of them")
        return block.addresses or ((block.address,) if block.address is not None else ())

    def _check_auth(self, block: VaultBlock, vault: config.Vault, at: Path) -> None:
        if isinstance(block.auth, AppRole) and block.auth.wrapped and block.auth.secret_id_file is None:
            what = "`secret_id_file`, which would contain the wrapping token, is missing"
            self._problems.add_dependent((*at, "auth", "wrapped"), what, todo="write `secret_id_file: PATH`")
        if isinstance(block.auth, JwtAuth) and block.auth.audience is not None and block.auth.jwt_from is None:
            what = "it applies only to `jwt_from`; an existing JWT has an audience already"
            self._problems.add_dependent((*at, "auth", "audience"), what, todo="remove it, or write `jwt_from: github`")
        if isinstance(block.auth, AwsAuth) and (block.auth.nonce_file is None) is (block.auth.type == "ec2"):
            what = (
                "`ec2` needs `nonce_file`, and `iam` has no nonce: the first login of an instance binds it to the nonce"
            )
            todo = "write `nonce_file: PATH` with `type: ec2`, or neither of them"
            self._problems.add_dependent((*at, "auth", "type"), what, todo=todo)
        auth, files = vault.auth, (vault.client_cert_file, vault.client_key_file)
        has_client_cert = block.client_cert_file is not None
        if has_client_cert and isinstance(auth, CertAuth) and files != (auth.cert_file, auth.key_file):
            what = "a connection presents one certificate, but `auth` names other files"
            self._problems.add_dependent(
                (*at, "client_cert_file"), what, todo="remove it, or name the same certificate and key in both places"
            )

    def _top_level_secrets(self) -> config.Secrets:
        block = self._file.secrets
        at = ("secrets",)
        prefix, shared = self._folder(block.prefix, (*at, "prefix")), self._shared((*at, "shared_prefixes"))
        return config.Secrets(
            mount=self._folder(block.mount, (*at, "mount")),
            prefix=prefix,
            shared_prefixes=shared,
            mounts=self._mounts(block.mounts, (*at, "mounts"), prefix, shared),
        )

    def _identity(self, name: str, block: IdentityBlock) -> config.Identity:
        """A login with what templates may read under it: as with the top-level one, as far as it says nothing else."""
        at = ("identities", name)
        own, top, below = block.secrets, self._secrets, (*at, "secrets")
        prefix = top.prefix if own.prefix is None else self._folder(own.prefix, (*below, "prefix"))
        shared = self._shared((*below, "shared_prefixes"), top.shared_prefixes if own.shared_prefixes is None else None)
        secrets = config.Secrets(
            mount=top.mount if own.mount is None else self._folder(own.mount, (*below, "mount")),
            prefix=prefix,
            shared_prefixes=shared,
            mounts=top.mounts if own.mounts is None else self._mounts(own.mounts, (*below, "mounts"), prefix, shared),
        )
        vault = self._vault_of(block, at)
        is_elsewhere = (vault.address, vault.addresses) != (self._vault.address, self._vault.addresses)
        if is_elsewhere and (*at, "auth") not in self._values:
            what = "missing; the login of the top-level block is not sent to another address"
            self._problems.add_dependent((*at, "auth"), what, todo="write how to log in there")
        return config.Identity(vault=vault, secrets=secrets)

    def _mounts(
        self, blocks: Mapping[str, KvMountBlock], at: Path, prefix: str, shared: tuple[str, ...]
    ) -> dict[str, config.KvMount]:
        return {
            self._folder(name, (*at, name)): config.KvMount(
                prefix=prefix if block.prefix is None else self._folder(block.prefix, (*at, name, "prefix")),
                shared_prefixes=self._shared(
                    (*at, name, "shared_prefixes"), shared if block.shared_prefixes is None else None
                ),
            )
            for name, block in blocks.items()
        }

    def _shared(self, at: Path, inherited: tuple[str, ...] | None = None) -> tuple[str, ...]:
        if inherited is not None:
            return inherited
        return tuple(self._folder(folder, path) for path, folder in self._items(at, str))

    def _folder(self, folder: str, path: Path) -> str:
        if self._environment is not None:
            folder = folder.replace(_ENVIRONMENT, self._environment)
        elif _ENVIRONMENT in folder and ("apps",) in self._problems.lines:
            self._problems.add_dependent(
                ("environment",),
                f"missing, but {spell(path)} contains {_ENVIRONMENT}",
                todo="write `environment: NAME`, or set $LESSEE_ENVIRONMENT",
            )
        if folder.split("/")[0] in self._foreign:
            at, what = path, "it begins with the name of another environment"
            if self._environment is None:
                at, what = ("environment",), f"missing, but {spell(path)} begins with the name of an environment"
            self._problems.add_dependent(at, what, todo="an agent reads only its own environment")
        return folder

    def _audit_trail(self) -> AuditTrail | None:
        block = self._file.audit_trail
        if block is not None and _contains(block.directory, block.key_file):
            what = "the key is in the directory of the audit trail"
            todo = "move it to where a process that may write the audit trail cannot change it"
            self._problems.add_dependent(("audit_trail", "key_file"), what, todo=todo)
        return block

    def _validate(self) -> Validate:
        for name, block in self._file.validate.api_keys.items():
            if block.provider is None and name not in get_args(Provider):
                todo = f"write `provider:` with one of {', '.join(get_args(Provider))}"
                path = ("validate", "api_keys", name, "provider")
                self._problems.add_dependent(path, f"missing, and {name!r} is not a known provider", todo=todo)
        return self._file.validate

    def _apps(self) -> dict[str, config.App]:
        state_dir = self._file.state_dir
        directories = {state_dir: "state_dir"}
        apps = {}
        for name, block in self._file.apps.items():
            path = ("apps", name, "directory")
            other = directories.setdefault(block.directory, spell(path))
            if other != spell(path):
                self._problems.add_dependent(path, f"{other} is the same directory", todo="give each its own directory")
            elif _contains(state_dir, block.directory) or _contains(block.directory, state_dir):
                what = "it is inside of state_dir, or contains it"
                self._problems.add_dependent(
                    path, what, todo="only the agent may use state_dir: name another directory"
                )
            apps[name] = self._app(name, block)
        self._check_nested_directories(apps)
        check_last_known_good_files(apps, self._problems)
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
            fallback=resolve_fallback(block, files, self._environment, path, self._problems),
            vault=self._vault_of(block.vault, (*path, "vault")),
            identities=self._logins,
        )

    def _with_environment(self, app: AppBlock, path: Path) -> AppBlock:
        """The app with a template for the variables of its child that have references."""
        if not self._for_child:
            return app
        inherited = dict[str, str]()
        if any("ref+" in text for text in self._environ.values()):
            from lessee.config.environment import malformed, references_of  # noqa: PLC0415  # Few have one.

            inherited |= references_of(self._environ)
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
        self._inline[name] = config.InlineTemplate(text, file, self._problems.line_of(path))
        return name

    def _files(self, app: AppBlock, at: Path, mode: int) -> Iterator[config.File]:
        names: dict[str, Path] = {}
        folders: dict[str, Path] = {}
        owner = self._owner(app.owner, (*at, "owner"))
        for path, block in (*self._items((*at, "files"), FileBlock), *self._env_file(app, at)):
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

    def _items(self, path: Path, kind: type[_T]) -> Iterator[tuple[Path, _T]]:
        """The valid items of a list with their keys, without those that have a problem."""
        index = 0
        while (at := (*path, index)) in self._problems.lines:
            if isinstance(item := self._values.get(at), kind):
                yield at, item
            index += 1


def _several(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return addresses if len(addresses) > 1 else ()


def _contains(outer: str, inner: str) -> bool:
    return inner.startswith(outer.removesuffix("/") + "/")
