"""The annotations of the injectors that the import does not use, and what it reports of them."""

from collections.abc import Mapping

from lessee.ops.migrate.policy.sources.settings import UnusedKey

_POD = UnusedKey("it configures the agent's container, which the pod's spec now contains", is_loss=False)
_POD_KEYS = (
    "agent-image", "agent-init-json-patch", "agent-inject-containers", "agent-inject-status", "agent-init-first",
    "agent-json-patch", "agent-limits-cpu", "agent-limits-ephemeral", "agent-limits-mem", "agent-request-namespace",
    "agent-requests-cpu", "agent-requests-ephemeral", "agent-requests-mem", "agent-revoke-grace",
    "agent-run-as-group", "agent-run-as-same-user", "agent-run-as-user", "agent-service-account-token-volume-name",
    "agent-set-security-context", "agent-share-process-namespace", "go-max-procs",
)  # fmt: skip
_BACKOFF = UnusedKey("lessee retries forever, with its own backoff of up to 60 s", is_loss=False)
_BACKOFF_KEYS = (
    "agent-auto-auth-exit-on-err", "agent-disable-idle-connections", "agent-disable-keep-alives", "auth-max-backoff",
    "auth-min-backoff", "client-max-retries", "client-timeout", "template-config-exit-on-retry-failure",
    "template-lease-renewal-threshold", "template-max-connections-per-host",
)  # fmt: skip
_CACHE = UnusedKey(
    "lessee is not a proxy for other programs", "let them send their requests to Vault, or read the files"
)
_CACHE_KEYS = (
    "agent-cache-enable", "agent-cache-exit-on-err", "agent-cache-listener-port", "agent-cache-use-auto-auth-token",
    "agent-enable-quit",
)  # fmt: skip
_NO_MOUNT = "nothing mounts volumes into lessee's container"

UNUSED_ANNOTATIONS: Mapping[str, UnusedKey] = {
    **dict.fromkeys(_POD_KEYS, _POD),
    **dict.fromkeys(_BACKOFF_KEYS, _BACKOFF),
    **dict.fromkeys(_CACHE_KEYS, _CACHE),
    "agent-configmap": UnusedKey("the configuration in the ConfigMap is not imported", "import it too"),
    "agent-copy-volume-mounts": UnusedKey(_NO_MOUNT, "mount the volumes in the pod's spec"),
    "agent-extra-secret": UnusedKey(_NO_MOUNT, "mount the secret at /vault/custom in the pod's spec"),
    "agent-inject-default-template": UnusedKey("the import writes the default template out", is_loss=False),
    "agent-inject-token": UnusedKey("lessee does not write its token to a file", "let its reader log in itself"),
    "agent-pre-populate": UnusedKey(
        "run `lessee render` as an init container to write the files before the app starts", is_loss=False
    ),
    "agent-pre-populate-only": UnusedKey(
        "run `lessee render` as an init container, without `lessee run`", is_loss=False
    ),
    "ca-key": UnusedKey("not needed: TLS verifies a server with the CA's certificate alone", is_loss=False),
    "log-format": UnusedKey("use `lessee run --log-format`", is_loss=False),
    "log-level": UnusedKey("use `lessee run --log-level`", is_loss=False),
    "proxy-address": UnusedKey("lessee reads the proxy from its environment", "set HTTPS_PROXY"),
    "tls-secret": UnusedKey(_NO_MOUNT, "mount the secret at /vault/tls in the pod's spec"),
}
