"""The lessee.yaml of a drill: only what it names of the real configuration reaches the drill's agents and commands."""

import re
from collections.abc import Collection, Iterator, Mapping

import msgspec

from lessee import config
from lessee.config import App, Config, Vault
from lessee.config.durations import spell
from lessee.config.yaml_writer import Entry, Expandable, Keys, write
from lessee.core.immutable import ImmutableStruct

MOST_TARGETS = 20
"""The targets that a drill rotates."""
_SECRET = re.compile(r"pass|secret|token|key|seed|credential|pin\b|pwd", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_SHORTEST, _LONGEST = 8, 256
_REVOKE_DELAY = 1.0
_CONFIRMATION_TIMEOUT = 60.0


class Target(ImmutableStruct, frozen=True):
    """A secret that the drill rotates: its path below the prefix, and the length of each of its new values."""

    name: str
    secret: str
    keys: Mapping[str, int]
    consumers: tuple[str, ...]


def environment_of(real: Config) -> str:
    """The environment's name in the drill."""
    return real.environment or "drill"


def choose_targets(real: Config, readers: Mapping[str, Collection[str]]) -> Mapping[str, str]:
    """The secrets to rotate, by the name of their target: those of `rotation` that apps read, otherwise what apps read.

    `readers`: the apps of each secret, by its path below the prefix.
    """
    configured = {name: target.secret for name, target in real.rotation.items() if target.secret in readers}
    found = configured or {_NOT_IN_NAMES.sub("-", path): path for path in sorted(readers)}
    return dict(list(found.items())[:MOST_TARGETS])


def rotated_keys(fields: Mapping[str, object]) -> Mapping[str, int]:
    """The keys of a secret that a drill replaces, with the length of their values.

    Those whose name is that of a credential; without one, the longest text. A port or a host stays, since templates
    may need its form.
    """
    texts = {key: len(value) for key, value in fields.items() if isinstance(value, str) and value}
    named = [key for key in texts if _SECRET.search(key)] or sorted(texts, key=lambda key: texts[key])[-1:]
    return {key: min(max(texts[key], _SHORTEST), _LONGEST) for key in named}


def drill_config(
    real: Config,
    apps: Collection[str],
    logins: Mapping[Vault, Vault],
    targets: Collection[Target],
    *,
    folder: str,
    template_dir: str,
) -> str:
    """The file's text. `logins`: the drill's login for each real one. `folder`: where everything is that it writes.

    It leaves out what would reach another system: commands, checks, webhooks, events, real targets and real files.
    """
    entries: list[Entry] = [
        ("environment", environment_of(real)),
        ("vault", Keys(tuple(_vault(logins[real.vault])))),
        ("identities", Keys(tuple(_identities(real, logins)))),
        ("secrets", Keys(tuple(_secrets(real.secrets)))),
        ("state_dir", f"{folder}/state"),
        ("template_dir", template_dir),
    ]
    if real.template_env is not None:
        entries.append(("template_env", sorted(real.template_env)))
    named = {environment_of(real), *real.foreign_environments}
    entries += [
        ("apps", Keys(tuple((name, _app(real, real.apps[name], logins, folder)) for name in apps))),
        ("setup", Keys((("environments", sorted(named)),))),
    ]
    if targets:
        slowest = max(real.apps[name].refresh_interval for name in apps)
        entries.append(("rotation", Keys(tuple((target.name, _target(target, slowest)) for target in targets))))
    return write(Keys(tuple(entries)))


def _vault(vault: Vault) -> Iterator[Entry]:
    yield "address", vault.address
    for key in ("namespace", "ca_file", "tls_server_name", "client_cert_file", "client_key_file"):
        value: str | None = getattr(vault, key)
        if value is not None:
            yield key, value
    if vault.tls_skip_verify:
        yield "tls_skip_verify", True
    auth = {key: value for key, value in msgspec.to_builtins(vault.auth).items() if value is not None}
    yield "auth", Keys(tuple(auth.items()))


def _identities(real: Config, logins: Mapping[Vault, Vault]) -> Iterator[Entry]:
    for name, identity in real.identities.items():
        if identity.vault in logins:
            secrets = Keys(tuple(_secrets(identity.secrets)))
            yield name, Keys((*_vault(logins[identity.vault]), ("secrets", secrets)))


def _secrets(secrets: config.Secrets) -> Iterator[Entry]:
    yield "mount", secrets.mount
    yield "prefix", secrets.prefix
    yield "shared_prefixes", secrets.shared_prefixes
    if secrets.mounts:
        mounts = {
            name: Keys((("prefix", mount.prefix), ("shared_prefixes", mount.shared_prefixes)))
            for name, mount in secrets.mounts.items()
        }
        yield "mounts", Keys(tuple(mounts.items()))


def _template(real: Config, name: str) -> Entry:
    inline = real.inline_templates.get(name)
    # Nothing is expanded in `contents`, so nothing is escaped.
    return ("template", name) if inline is None else ("contents", Expandable(inline.text))


def _app(real: Config, app: App, logins: Mapping[Vault, Vault], folder: str) -> Keys:
    files = [Keys((_template(real, file.template), ("name", file.name), ("format", file.format))) for file in app.files]
    if app.env_template is not None:
        files.append(Keys((_template(real, app.env_template), ("name", "environment"), ("format", "dotenv"))))
    entries: list[Entry] = [
        ("directory", f"{folder}/apps/{app.name}"),
        ("refresh_interval", spell(app.refresh_interval)),
        ("files", files),
        ("public_variables", sorted(app.public_variables)),
    ]
    if app.notify is not None:
        entries.append(("notify", Keys((("pid_file", f"{folder}/pids/{app.name}"), ("action", "SIGHUP")))))
    if app.ready is not None:
        ready = (("file", f"{folder}/ready/{app.name}"), ("initial_delay", "50ms"), ("timeout", "30s"))
        entries.append(("ready", Keys(ready)))
    if app.vault != real.vault:
        # It may read nothing under its own login.
        entries.append(("vault", Keys(tuple(_vault(logins.get(app.vault, logins[real.vault]))))))
    return Keys(tuple(entries))


def _target(target: Target, slowest: float) -> Keys:
    """`slowest`: the longest time in which an agent notices a new version."""
    keys = Keys(tuple((key, Keys((("generate", length),))) for key, length in target.keys.items()))
    return Keys(
        (
            ("kind", "vault"),
            ("secret", target.secret),
            ("keys", keys),
            ("consumers", target.consumers),
            ("revoke_delay", spell(_REVOKE_DELAY)),
            ("confirmation_timeout", spell(_CONFIRMATION_TIMEOUT + slowest)),
        )
    )
