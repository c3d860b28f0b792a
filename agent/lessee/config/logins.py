"""Resolves how the agent logs in, and which folders it reads under each login."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lessee import config
from lessee.config.grammar import scalars
from lessee.config.grammar.problems import Path, spell
from lessee.config.grammar.vault import AppRole, AwsAuth, CertAuth, IdentityBlock, JwtAuth, KvMountBlock, VaultBlock
from lessee.config.resolution import Resolution

if TYPE_CHECKING:
    from lessee.config.grammar.sources import Settings

_ENVIRONMENT = "{environment}"
_CLOUD_INTERVAL = 60.0
"""Seconds. Each read of a secret in a cloud costs money, and counts towards a rate limit."""


class Logins:
    """The top-level login with its folders, and those of the identities."""

    def __init__(self, resolution: Resolution) -> None:
        self._resolution, self._file = resolution, resolution.file
        self._values, self._problems = resolution.values, resolution.problems
        self.vault = self._top_level_vault()
        self.secrets = self._top_level_secrets()
        self.identities = {name: self._identity(name, block) for name, block in resolution.file.identities.items()}
        self.sources = {name: self._source(name, block) for name, block in resolution.file.sources.items()}

    def _top_level_vault(self) -> config.Vault:
        block = self._file.vault
        at, of_variable = ("vault",), self._resolution.or_variable
        addresses = self._addresses(block, at)
        first = next(iter(addresses), None)
        address = of_variable(first, "VAULT_ADDR", scalars.VaultAddress, (*at, "address"))
        vault = config.Vault(
            address=address or "https://127.0.0.1:8200",  # The default of Vault's own clients.
            addresses=_several(addresses),
            namespace=of_variable(block.namespace, "VAULT_NAMESPACE", scalars.MountPath, (*at, "namespace")),
            ca_file=of_variable(block.ca_file, "VAULT_CACERT", scalars.FilePath, (*at, "ca_file")),
            tls_server_name=block.tls_server_name,
            client_cert_file=block.client_cert_file,
            client_key_file=block.client_key_file,
            tls_skip_verify=block.tls_skip_verify,
            insecure_http=block.insecure_http,
            auth=block.auth,
        )
        self._check_auth(block, vault, at)
        return vault

    def vault_of(self, block: VaultBlock | None, at: Path) -> config.Vault:
        """An app's block over the top-level one. Keys that depend on each other come from the same block."""
        if block is None:
            return self.vault
        keys = VaultBlock.__struct_fields__
        own = {key: getattr(block, key) for key in keys if (*at, key) in self._values}
        if addresses := self._addresses(block, at):
            own |= {"address": addresses[0], "addresses": _several(addresses)}
        if own.keys() & {"client_cert_file", "client_key_file"} or isinstance(block.auth, CertAuth):
            own |= {"client_cert_file": block.client_cert_file, "client_key_file": block.client_key_file}
        vault = replace(self.vault, **own)
        self._check_auth(block, vault, at)
        return vault

    def _addresses(self, block: VaultBlock, at: Path) -> tuple[str, ...]:
        if block.address is not None and block.addresses is not None:
            self._problems.add_dependent((*at, "addresses"), "`address` is set too", todo="remove one of them")
        return block.addresses or ((block.address,) if block.address is not None else ())

    def _check_auth(self, block: VaultBlock, vault: config.Vault, at: Path) -> None:
        if isinstance(block.auth, AppRole):
            self._check_secret_id(block.auth, (*at, "auth"))
        sources = (block.auth.secret_id_file, block.auth.secret_id_command) if isinstance(block.auth, AppRole) else ()
        if isinstance(block.auth, AppRole) and block.auth.wrapped and sources == (None, None):
            what = "`secret_id_file`, which would contain the wrapping token, is missing"
            self._problems.add_dependent((*at, "auth", "wrapped"), what, todo="write `secret_id_file: PATH`")
        if isinstance(block.auth, JwtAuth) and block.auth.audience is not None and block.auth.jwt_from is None:
            what = "it applies only to `jwt_from`; an existing JWT has an audience already"
            self._problems.add_dependent((*at, "auth", "audience"), what, todo="remove it, or write `jwt_from:`")
        if isinstance(block.auth, JwtAuth) and block.auth.audience is None and block.auth.jwt_from == "spiffe":
            what = "`jwt_from: spiffe` needs an `audience`, which the role in Vault has in bound_audiences"
            self._problems.add_dependent((*at, "auth", "jwt_from"), what, todo="write `audience: TEXT`")
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

    def _check_secret_id(self, auth: AppRole, at: Path) -> None:
        keys = ("secret_id_file", "secret_id_command", "secret_id_socket")
        first, *others = [key for key in keys if getattr(auth, key) is not None] or [""]
        for key in others:
            what = f"`{first}` is set too, and a login has one secret_id"
            self._problems.add_dependent((*at, key), what, todo="remove one of them")
        if auth.secret_id_role is not None and auth.secret_id_socket is None:
            what = "it applies only to `secret_id_socket`"
            todo = "remove it, or write `secret_id_socket: PATH`"
            self._problems.add_dependent((*at, "secret_id_role"), what, todo=todo)

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
        own, top, below = block.secrets, self.secrets, (*at, "secrets")
        prefix = top.prefix if own.prefix is None else self._folder(own.prefix, (*below, "prefix"))
        shared = self._shared((*below, "shared_prefixes"), top.shared_prefixes if own.shared_prefixes is None else None)
        secrets = config.Secrets(
            mount=top.mount if own.mount is None else self._folder(own.mount, (*below, "mount")),
            prefix=prefix,
            shared_prefixes=shared,
            mounts=top.mounts if own.mounts is None else self._mounts(own.mounts, (*below, "mounts"), prefix, shared),
        )
        vault = self.vault_of(block, at)
        is_elsewhere = (vault.address, vault.addresses) != (self.vault.address, self.vault.addresses)
        if is_elsewhere and (*at, "auth") not in self._values:
            what = "missing; the login of the top-level block is not sent to another address"
            self._problems.add_dependent((*at, "auth"), what, todo="write how to log in there")
        return config.Identity(vault=vault, secrets=secrets)

    def _source(self, name: str, block: "Settings") -> config.Source:
        from lessee.config.grammar.sources import AwsSource, DirectorySource  # noqa: PLC0415  # Few have a source.

        at = ("sources", name)
        if name in self.identities:
            what = f"`identities` has {name!r} too, and messages name both alike"
            self._problems.add_dependent(at, what, todo="rename one of them")
        prefix, refresh_interval = block.prefix, block.refresh_interval
        if refresh_interval is None and isinstance(block, AwsSource):
            refresh_interval = _CLOUD_INTERVAL
        default = "" if isinstance(block, DirectorySource) else self.secrets.prefix
        return config.Source(
            name=name,
            settings=block,
            prefix=default if prefix is None else self._folder(prefix, (*at, "prefix")),
            shared_prefixes=self._shared((*at, "shared_prefixes")),
            refresh_interval=refresh_interval,
            apps=block.apps,
        )

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
        return tuple(self._folder(folder, path) for path, folder in self._resolution.items(at, str))

    def _folder(self, folder: str, path: Path) -> str:
        if self._resolution.environment is not None:
            folder = folder.replace(_ENVIRONMENT, self._resolution.environment)
        elif _ENVIRONMENT in folder and ("apps",) in self._problems.lines:
            self._problems.add_dependent(
                ("environment",),
                f"missing, but {spell(path)} contains {_ENVIRONMENT}",
                todo="write `environment: NAME`, or set $LESSEE_ENVIRONMENT",
            )
        if folder.split("/")[0] in self._resolution.foreign:
            at, what = path, "it begins with the name of another environment"
            if self._resolution.environment is None:
                at, what = ("environment",), f"missing, but {spell(path)} begins with the name of an environment"
            self._problems.add_dependent(at, what, todo="an agent reads only its own environment")
        return folder


def _several(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return addresses if len(addresses) > 1 else ()
