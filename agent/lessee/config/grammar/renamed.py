"""The keys and values of earlier versions with their present names; only errors about unknown keys use them."""

from collections.abc import Collection, Mapping

from lessee.config.grammar import EventsBlock, Lessee, Restart, SecretsBlock, StatusBlock, app, setup, validate
from lessee.config.grammar.alerts import AccessRule, AlertRule, Alerts
from lessee.config.grammar.block import Block
from lessee.config.grammar.monitor import Monitor
from lessee.config.grammar.rotation import Manual, Postgres, RandomValue, RotationTarget
from lessee.config.grammar.vault import AppRole, VaultBlock

RENAMED_KEYS: Mapping[type[Block], Mapping[str, str]] = {
    Lessee: {"state": "state_dir", "trail": "audit_trail", "templates": "template_dir"},
    VaultBlock: {"server_name": "tls_server_name", "insecure": "tls_skip_verify"},
    AppRole: {"wrapped_path": "secret_id_response_wrapping_path"},
    SecretsBlock: {"shared": "shared_prefixes", "refresh": "refresh_interval"},
    StatusBlock: {"hosts": "allowed_hosts", "insecure": "allow_unauthenticated"},
    Restart: {"attempts": "max_attempts", "within": "window"},
    EventsBlock: {"poll": "poll_interval", "spread": "jitter"},
    app.AppBlock: {"refresh": "refresh_interval", "environ": "env_template", "public": "public_variables"},
    app.NotifyBlock: {
        "grace": "stop_grace_period",
        "boot_grace": "start_period",
        "otherwise": "on_unhandled_signal",
    },
    app.ReadyBlock: {"after": "initial_delay", "within": "timeout"},
    app.FallbackBlock: {"last_good": "last_known_good"},
    setup.NewValue: {"alphabet": "charset"},
    setup.Login: {"cidrs": "bound_cidrs"},
    setup.Component: {"rights": "capabilities", "below": "prefixes"},
    setup.Connection: {"plugin": "plugin_name", "url": "connection_url"},
    setup.DatabaseRole: {"creation": "creation_statements", "revocation": "revocation_statements"},
    RotationTarget: {
        "every": "rotation_period",
        "windows": "rotation_windows",
        "confirm_within": "confirmation_timeout",
        "retire_after": "revoke_delay",
        "admin": "admin_secret",
        "keep": "delete_delay",
    },
    Postgres: {"grace": "terminate_delay"},
    Manual: {"prove": "verify"},
    RandomValue: {"alphabet": "charset", "previous": "previous_key"},
    Monitor: {"begin": "start_at", "state": "state_dir", "heartbeat": "heartbeat_interval"},
    Alerts: {
        "refusals_in_a_row": "consecutive_denials",
        "again_after": "repeat_interval",
        "resolve_after": "resolve_timeout",
        "usual": "default_rules",
    },
    AlertRule: {"again_after": "repeat_interval", "resolve_after": "resolve_timeout"},
    AccessRule: {"within": "window", "by": "group_by", "zone": "timezone", "learn": "learning_period"},
    validate.DatabaseCheck: {"rights": "privileges"},
    validate.ApiKeyCheck: {"recipe": "provider"},
    validate.FrontendCheck: {"public": "public_prefixes"},
}
"""By block, and for all blocks that inherit from it: the former name of a key, and its present one."""

RENAMED_VALUES = {"refusals": "denials", "lease-ending": "lease-expiring", "start": "beginning"}
"""The former name of a value, and its present one."""


def new_key(block: type, key: str) -> str:
    """The present name of a former key of this block; "" if no key of the block had that name."""
    for cls in block.__mro__:
        name = RENAMED_KEYS.get(cls, {}).get(key, "")
        if name in block.__struct_fields__:  # type: ignore[attr-defined]  # Every block is a Struct.
            return name
    return ""


def new_value(value: str, choices: Collection[str]) -> str:
    """The present name of a former value among `choices`; "" if none of them had that name."""
    name = RENAMED_VALUES.get(value, "")
    return name if name in choices else ""
