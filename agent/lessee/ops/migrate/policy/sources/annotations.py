"""Annotations of an injector that are no part of what the agent renders."""

from collections.abc import Mapping

from lessee.ops.migrate.policy.sources.settings import Aside

_POD = Aside("it is of the container, whose place is in the pod's spec now", lost=False)
_POD_KEYS = (
    "agent-image", "agent-inject-containers", "agent-inject-status", "agent-init-first", "agent-limits-cpu",
    "agent-limits-ephemeral", "agent-limits-mem", "agent-request-namespace", "agent-requests-cpu",
    "agent-requests-ephemeral", "agent-requests-mem", "agent-revoke-grace", "agent-run-as-group",
    "agent-run-as-same-user", "agent-run-as-user", "agent-service-account-token-volume-name",
    "agent-set-security-context", "agent-share-process-namespace", "go-max-procs",
)  # fmt: skip
_BACKOFF = Aside("lessee tries again for ever, with a backoff of its own up to 60 s", lost=False)
_BACKOFF_KEYS = (
    "agent-auto-auth-exit-on-err", "agent-disable-idle-connections", "agent-disable-keep-alives", "auth-max-backoff",
    "auth-min-backoff", "client-max-retries", "client-timeout", "template-config-exit-on-retry-failure",
    "template-lease-renewal-threshold", "template-max-connections-per-host",
)  # fmt: skip
_CACHE = Aside("lessee is no proxy for other programs", "let them ask Vault itself, or read the files")
_CACHE_KEYS = (
    "agent-cache-enable", "agent-cache-exit-on-err", "agent-cache-listener-port", "agent-cache-use-auto-auth-token",
    "agent-enable-quit",
)  # fmt: skip

ASIDES: Mapping[str, Aside] = {
    **dict.fromkeys(_POD_KEYS, _POD),
    **dict.fromkeys(_BACKOFF_KEYS, _BACKOFF),
    **dict.fromkeys(_CACHE_KEYS, _CACHE),
    "agent-configmap": Aside("its configuration is elsewhere", "import that too"),
    "agent-copy-volume-mounts": Aside("it mounts nothing by itself", "mount them in lessee's container"),
    "agent-extra-secret": Aside("it mounts nothing by itself", "mount it in lessee's container at /vault/custom"),
    "agent-inject-default-template": Aside("the default template is written out", lost=False),
    "agent-inject-token": Aside("lessee writes no token", "let its reader log in by itself"),
    "agent-pre-populate": Aside("run `lessee render` as an init container to have the files first", lost=False),
    "agent-pre-populate-only": Aside("run `lessee render` as an init container, and no `lessee run`", lost=False),
    "log-format": Aside("it is `lessee run --log-format`", lost=False),
    "log-level": Aside("it is `lessee run --log-level`", lost=False),
    "proxy-address": Aside("it is a variable of lessee's environment", "set HTTPS_PROXY"),
    "tls-secret": Aside("it mounts nothing by itself", "mount it in lessee's container at /vault/tls"),
}
