"""The text of lessee.yaml to a Config."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar, get_args

from msgspec.structs import replace

from lessee import config
from lessee.config import Config, grammar
from lessee.config.alerts import check_alerts
from lessee.config.fallback import check_kept, fallback
from lessee.config.grammar import app, scalars
from lessee.config.grammar.audit_trail import Trail
from lessee.config.grammar.nodes import compose
from lessee.config.grammar.problems import Path, Problems, spell
from lessee.config.grammar.reader import Reader
from lessee.config.grammar.validate import Provider, Validate
from lessee.config.grammar.vault import AppRole, CertAuth, JwtAuth, Vault
from lessee.config.monitor import check_monitor
from lessee.config.notification import check, notify, ready
from lessee.config.rotation import check_rotation
from lessee.config.setup import check_setup
from lessee.config.status import listen

_T = TypeVar("_T")
_MODE = 0o440  # Owner and group read, nobody writes.
_ENVIRONMENT = "{environment}"


def parse(
    text: str,
    *,
    source: str,
    environ: Mapping[str, str],
    for_child: bool = False,
    environment: str | None = None,
    blocks: Collection[str] = (),
) -> Config:
    """What the file says, with its defaults and those of the environment filled in.

    `for_child`: `lessee exec` reads it. `environment`: instead of the one that it says. `blocks`: the operator's
    that are needed, with their variables. `source` is what errors call the file. Raises ConfigError with all that is
    wrong, by line.
    """
    problems = Problems(source)
    reader = Reader(problems, environ, blocks)
    said = reader.read(compose(text, source))
    if environment is not None:
        said = replace(said, environment=environment)
    settled = _Settling(said, reader.values, problems, environ, for_child=for_child).settle()
    if "setup" in blocks:
        check_setup(said, problems)
    if "monitor" in blocks:
        check_monitor(said, problems)
    if "rotation" in blocks:
        check_rotation(settled, problems)
    if "monitor" in blocks and said.monitor is not None:
        check_alerts(said.monitor, problems)
    problems.raise_all()
    return settled


def environments(text: str, *, source: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Those that `setup` is for, whatever its keys say. Raises ConfigError where the file is no mapping."""
    return Reader(Problems(source), environ).read(compose(text, source)).setup.environments


class _Settling:
    """Settles what the grammar leaves open: defaults, inheritance, and what two keys say together."""

    def __init__(
        self,
        said: grammar.Lessee,
        values: dict[Path, object],
        problems: Problems,
        environ: Mapping[str, str],
        *,
        for_child: bool,
    ) -> None:
        self._said = said
        self._for_child = for_child
        self._values = values
        self._problems = problems
        self._environ = environ
        self._environment = self._or_variable(said.environment, "LESSEE_ENVIRONMENT", scalars.Name, ("environment",))
        self._foreign = frozenset(said.setup.environments) - {self._environment}
        self._vault = self._top_vault()

    def settle(self) -> Config:
        said = self._said
        restart = said.exec.restart
        return Config(
            environment=self._environment,
            foreign_environments=self._foreign,
            vault=self._vault,
            secrets=self._secrets(),
            state=said.state,
            status=config.Status(
                socket=said.status.socket or f"{said.state}/status.sock", listen=listen(said.status, self._problems)
            ),
            events=self._events(),
            on_stop=said.leases.on_stop,
            restart=None if restart is None else config.Restart(attempts=restart.attempts, within=restart.within),
            templates=said.templates,
            allow_disk=said.allow_disk,
            apps=self._apps(),
            setup=said.setup,
            rotation=said.rotation,
            validate=self._validate(),
            trail=self._trail(),
            backup=said.backup,
            monitor=said.monitor,
        )

    def _events(self) -> config.Events | None:
        said = self._said.events
        if said is None or (said.redis is None and said.socket is None and said.vault is None):
            if said is not None:
                what = "expected `redis`, `socket` or `vault`"
                self._problems.follow(
                    ("events",),
                    what,
                    todo="name where `lessee monitor` publishes, or write `vault: auto` for Vault Enterprise",
                )
            return None
        if said.redis is not None and said.socket is not None:
            what = "`redis` stands there too, and both tell the same"
            self._problems.follow(("events", "socket"), what, todo="leave one of them out")
        # The monitor tells all that Vault's stream does, and to every identity.
        vault = said.redis is None and said.socket is None
        return config.Events(redis=said.redis, socket=said.socket, vault=vault, poll=said.poll, spread=said.spread)

    def _or_variable(self, said: str | None, variable: str, kind: Any, path: Path) -> str | None:
        text = self._environ.get(variable)
        if said is not None or not text:
            return said
        word = scalars.word_of(kind)
        try:
            return str(word.read(text))
        except ValueError:
            self._problems.follow(path, f"it is not in the file, and ${variable} is not {word.expected}")
            return None

    def _top_vault(self) -> config.Vault:
        said = self._said.vault
        at = ("vault",)
        addresses = self._addresses(said, at)
        first = next(iter(addresses), None)
        address = self._or_variable(first, "VAULT_ADDR", scalars.VaultAddress, (*at, "address"))
        vault = config.Vault(
            address=address or "https://127.0.0.1:8200",  # As Vault's own clients have it.
            addresses=_several(addresses),
            namespace=self._or_variable(said.namespace, "VAULT_NAMESPACE", scalars.MountPath, (*at, "namespace")),
            ca_file=self._or_variable(said.ca_file, "VAULT_CACERT", scalars.FilePath, (*at, "ca_file")),
            server_name=said.server_name,
            client_cert_file=said.client_cert_file,
            client_key_file=said.client_key_file,
            insecure=said.insecure,
            auth=said.auth,
        )
        self._check_auth(said, vault, at)
        return vault

    def _vault_of(self, said: Vault | None, at: Path) -> config.Vault:
        """An app's block over the top-level one; what belongs together is taken from one of them."""
        if said is None:
            return self._vault
        own = {key: getattr(said, key) for key in said.__struct_fields__ if (*at, key) in self._values}
        if addresses := self._addresses(said, at):
            own |= {"address": addresses[0], "addresses": _several(addresses)}
        if own.keys() & {"client_cert_file", "client_key_file"} or isinstance(said.auth, CertAuth):
            own |= {"client_cert_file": said.client_cert_file, "client_key_file": said.client_key_file}
        vault = replace(self._vault, **own)
        self._check_auth(said, vault, at)
        return vault

    def _addresses(self, said: Vault, at: Path) -> tuple[str, ...]:
        if said.address is not None and said.addresses is not None:
            self._problems.follow((*at, "addresses"), "`address` stands there too", todo="leave one of them out")
        return said.addresses or ((said.address,) if said.address is not None else ())

    def _check_auth(self, said: Vault, vault: config.Vault, at: Path) -> None:
        if isinstance(said.auth, AppRole) and said.auth.wrapped and said.auth.secret_id_file is None:
            self._problems.follow(
                (*at, "auth", "wrapped"),
                "there is no secret_id_file to hold the wrapping token",
                todo="name it",
            )
        if isinstance(said.auth, JwtAuth) and said.auth.audience is not None and said.auth.jwt_from is None:
            self._problems.follow(
                (*at, "auth", "audience"),
                "the JWT is there already, with an audience of its own",
                todo="leave it out, or write `jwt_from: github`",
            )
        auth, files = vault.auth, (vault.client_cert_file, vault.client_key_file)
        named = said.client_cert_file is not None
        if named and isinstance(auth, CertAuth) and files != (auth.cert_file, auth.key_file):
            self._problems.follow(
                (*at, "client_cert_file"),
                "a connection shows one certificate, and auth names another pair of files",
                todo="leave it out, or name the same certificate and key",
            )

    def _secrets(self) -> config.Secrets:
        said = self._said.secrets
        at = ("secrets",)
        return config.Secrets(
            mount=self._folder(said.mount, (*at, "mount")),
            prefix=self._folder(said.prefix, (*at, "prefix")),
            shared=tuple(self._folder(folder, path) for path, folder in self._listed((*at, "shared"), str)),
        )

    def _folder(self, folder: str, path: Path) -> str:
        if self._environment is not None:
            folder = folder.replace(_ENVIRONMENT, self._environment)
        elif _ENVIRONMENT in folder and ("apps",) in self._problems.lines:
            self._problems.follow(
                ("environment",),
                f"missing, and {spell(path)} holds {_ENVIRONMENT}",
                todo="write `environment: NAME`, or set $LESSEE_ENVIRONMENT",
            )
        if folder.split("/")[0] in self._foreign:
            at, what = path, "it begins with another environment's name"
            if self._environment is None:
                at, what = ("environment",), f"missing, and {spell(path)} begins with an environment's name"
            self._problems.follow(at, what, todo="an agent reads its own environment alone")
        return folder

    def _trail(self) -> Trail | None:
        said = self._said.trail
        if said is not None and _holds(said.directory, said.key_file):
            todo = "keep the key where who may write the trail cannot change it"
            self._problems.follow(("trail", "key_file"), "it lies in the trail's folder", todo=todo)
        return said

    def _validate(self) -> Validate:
        for name, said in self._said.validate.api_keys.items():
            if said.recipe is None and name not in get_args(Provider):
                todo = f"write `recipe:` with one of {', '.join(get_args(Provider))}"
                path = ("validate", "api_keys", name, "recipe")
                self._problems.follow(path, f"missing, and {name!r} is no provider that is known", todo=todo)
        return self._said.validate

    def _apps(self) -> dict[str, config.App]:
        directories = {self._said.state: "state"}
        apps = {}
        for name, said in self._said.apps.items():
            path = ("apps", name, "directory")
            other = directories.setdefault(said.directory, spell(path))
            if other != spell(path):
                self._problems.follow(path, f"{other} is the same directory", todo="give each its own")
            elif _holds(self._said.state, said.directory) or _holds(said.directory, self._said.state):
                self._problems.follow(path, "it lies in state, or state in it", todo="state is the agent's alone")
            apps[name] = self._app(name, said)
        check_kept(apps, self._problems)
        return apps

    def _app(self, name: str, said: app.App) -> config.App:
        path = ("apps", name)
        if said.files is None and said.environ is None:
            self._problems.follow((*path, "files"), "missing; expected a list of files")
        mode = _MODE if said.mode is None else said.mode
        files = tuple(self._files((*path, "files"), mode, said.owner))
        return config.App(
            name=name,
            directory=said.directory,
            files=files,
            mode=mode,
            owner=said.owner,
            allow_disk=said.allow_disk,
            refresh=self._said.secrets.refresh if said.refresh is None else said.refresh,
            environ=said.environ,
            public=frozenset(said.public),
            check=check(said, files, path, self._problems),
            notify=notify(said, self._values, path, self._problems, for_child=self._for_child),
            ready=ready(said, files, path, self._problems),
            on_expiry=said.on_expiry,
            fallback=fallback(said, files, self._environment, path, self._problems),
            vault=self._vault_of(said.vault, (*path, "vault")),
        )

    def _files(self, of: Path, mode: int, owner: tuple[int, int | None] | None) -> Iterator[config.File]:
        names: dict[str, Path] = {}
        for path, said in self._listed(of, app.File):
            name = said.name or self._default_name(said.template, path)
            if names.setdefault(name, path) is not path:
                self._problems.follow(
                    (*path, "name"), f"{spell(names[name])} has the same name", todo="write another `name:`"
                )
            kind = said.format or config.format_of(name)
            self._values[(*path, "format")] = kind
            yield config.File(
                template=said.template,
                name=name,
                format=kind,
                mode=mode if said.mode is None else said.mode,
                owner=said.owner or owner,
            )

    def _default_name(self, template: str, path: Path) -> str:
        name = template.rpartition("/")[2].removesuffix(".j2")
        word = scalars.word_of(scalars.FileName)
        try:
            return str(word.read(name))
        except ValueError:
            self._problems.follow(
                (*path, "name"),
                f"the template's name gives none; expected {word.expected}",
                todo="write `name:`",
            )
            return name

    def _listed(self, path: Path, kind: type[_T]) -> Iterator[tuple[Path, _T]]:
        """The sound items of a list with their keys; those that were told of are left out."""
        index = 0
        while (at := (*path, index)) in self._problems.lines:
            if isinstance(item := self._values.get(at), kind):
                yield at, item
            index += 1


def _several(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return addresses if len(addresses) > 1 else ()


def _holds(outer: str, inner: str) -> bool:
    return inner.startswith(outer.removesuffix("/") + "/")
