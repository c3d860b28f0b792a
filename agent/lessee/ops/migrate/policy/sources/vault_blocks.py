"""Reads the `vault` and `method` blocks of Vault Agent: the connection to Vault and the login."""

from collections.abc import Mapping

from lessee.config.yaml_writer import Entry, Keys
from lessee.ops.migrate.policy.imported_config import ImportedConfig
from lessee.ops.migrate.policy.sources.settings import Settings, UnusedKey


def read_vault(block: Settings, config: ImportedConfig) -> None:
    """Read the `vault` block."""
    for key, lessee_key in _VAULT_KEYS.items():
        if text := block.string(key):
            config.vault.append((lessee_key, text.removesuffix("/") if lessee_key == "address" else text))
    if block.flag("tls_skip_verify"):
        config.vault.append(("tls_skip_verify", True))
    block.report_unused(_UNUSED_VAULT_KEYS)


def read_auth(method: str, block: Settings, config: ImportedConfig) -> Keys | None:
    """Read a `method` block of `auto_auth`; None for a login that lessee does not support, which is reported."""
    method_config = block.block("config") or block
    mount = block.string("mount_path").removeprefix("auth/").strip("/")
    namespace = block.string("namespace").strip("/")
    if namespace and not _has(config, "namespace"):
        config.vault.append(("namespace", namespace))
    elif namespace and ("namespace", namespace) not in config.vault:
        what = "the login and the secrets are in different namespaces, and lessee uses one namespace"
        block.add_loss("namespace", what)
    keys = _METHODS.get(method)
    if keys is None:
        what = f"lessee does not support the auth method {method or '(none)'}"
        block.add_loss(
            "type", what, "use a method of docs/reference/logins.md, such as approle, jwt, kubernetes or cert"
        )
        return None
    entries: list[Entry] = [("method", "token" if method == "token_file" else method)]
    for key, lessee_key in keys.items():
        if text := method_config.string(key):
            entries.append((lessee_key, text))
    if mount and method not in {mount, "token_file"}:
        entries.append(("mount", mount))
    entries += _method_entries(method, method_config, config)
    missing = [key for key in _REQUIRED[method] if not any(entry[0] == key for entry in entries)]
    if missing:
        block.add_loss("type", f"{method} needs {' and '.join(missing)}", "write it in vault.auth")
    if method_config is not block:
        method_config.report_unused(_UNUSED_CONFIG_KEYS)
    block.report_unused(_UNUSED_METHOD_KEYS)
    return Keys(tuple(entries)) if not missing else None


def _method_entries(method: str, method_config: Settings, config: ImportedConfig) -> list[Entry]:
    if method == "cert" and (ca_file := method_config.string("ca_cert")) and not _has(config, "ca_file"):
        config.vault.append(("ca_file", ca_file))
    if method == "jwt" and method_config.flag("remove_jwt_after_reading"):
        what = "lessee does not remove the file with the JWT"
        method_config.add_loss("remove_jwt_after_reading", what, "let the program that writes it remove it")
    if method == "aws" and method_config.string("type") == "ec2":
        what = "lessee reads the nonce of an EC2 instance from a file"
        method_config.add_loss("nonce", what, "write it to a file, and set type: ec2 and nonce_file in vault.auth")
    if method == "gcp" and method_config.string("type") == "iam" and not method_config.string("credentials"):
        what = "lessee signs a JWT with the key of a service account, not by Google's API"
        method_config.add_loss("type", what, "set vault.auth.credentials_file, or create a role of type gce")
    if method != "approle":
        return []
    entries: list[Entry] = []
    if wrapped := method_config.string("secret_id_response_wrapping_path"):
        entries += [("wrapped", True), ("secret_id_response_wrapping_path", wrapped.strip("/"))]
    if method_config.string("secret_id_file_path") and method_config.flag(
        "remove_secret_id_file_after_reading", default=True
    ):
        entries.append(("remove_secret_id_file_after_reading", True))
    return entries


def _has(config: ImportedConfig, key: str) -> bool:
    return any(entry[0] == key for entry in config.vault)


_VAULT_KEYS = {
    "address": "address",
    "namespace": "namespace",
    "ca_cert": "ca_file",
    "tls_server_name": "tls_server_name",
    "client_cert": "client_cert_file",
    "client_key": "client_key_file",
}
_METHODS: Mapping[str, Mapping[str, str]] = {
    "approle": {"role_id_file_path": "role_id_file", "secret_id_file_path": "secret_id_file"},
    "aws": {"role": "role", "region": "region", "header_value": "header_value"},
    "azure": {"role": "role", "resource": "resource", "client_id": "client_id"},
    "cert": {"client_cert": "cert_file", "client_key": "key_file", "name": "role"},
    "cf": {"role": "role", "cf_instance_cert": "cert_file", "cf_instance_key": "key_file"},
    "gcp": {"role": "role", "service_account": "service_account", "credentials": "credentials_file"},
    "jwt": {"path": "jwt_file", "role": "role"},
    "kerberos": {"username": "username", "service": "service", "realm": "realm", "keytab_path": "keytab_file"},
    "kubernetes": {"role": "role", "token_path": "jwt_file"},
    "ldap": {"username": "username", "password_file_path": "password_file"},
    "token_file": {"token_file_path": "token_file"},
    "userpass": {"username": "username", "password_file_path": "password_file"},
}
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "approle": ("role_id_file",),
    "aws": (),
    "azure": ("role",),
    "cert": ("cert_file", "key_file"),
    "cf": ("role", "cert_file", "key_file"),
    "gcp": ("role",),
    "jwt": ("jwt_file",),
    "kerberos": ("username", "service", "realm", "keytab_file"),
    "kubernetes": ("role",),
    "ldap": ("username", "password_file"),
    "token_file": ("token_file",),
    "userpass": ("username", "password_file"),
}
_BACKOFF = UnusedKey("lessee retries forever, with its own backoff of up to 60 s", is_loss=False)
_UNUSED_VAULT_KEYS: Mapping[str, UnusedKey] = {
    "ca_path": UnusedKey("lessee does not read a directory of CAs", "put them into one file, and set vault.ca_file"),
    "retry": _BACKOFF,
}
_UNUSED_METHOD_KEYS: Mapping[str, UnusedKey] = {
    "exit_on_err": _BACKOFF,
    "max_backoff": _BACKOFF,
    "min_backoff": _BACKOFF,
    "wrap_ttl": UnusedKey("lessee does not pass its token on, so it does not wrap it"),
}
_REREAD = UnusedKey("lessee reads the file again at each login, and does not remove it", is_loss=False)
_IN_FILE = UnusedKey("lessee does not copy credentials", "write them to a file, and set vault.auth.credentials_file")
_UNUSED_CONFIG_KEYS: Mapping[str, UnusedKey] = {
    "access_key": _IN_FILE,
    "authenticate_from_environment": UnusedKey("lessee asks the metadata server", "use the machine's managed identity"),
    "disable_fast_negotiation": UnusedKey("libkrb5 negotiates it with the KDC", is_loss=False),
    "jwt_exp": UnusedKey("lessee signs a JWT that is valid for five minutes", is_loss=False),
    "krb5conf_path": UnusedKey("lessee reads the file that $KRB5_CONFIG names", "set it in the agent's environment"),
    "nonce": UnusedKey("only a login as an EC2 instance has a nonce"),
    "object_id": UnusedKey("lessee selects a managed identity by client_id", "write its client ID"),
    "project": UnusedKey("the key of a service account names its project", is_loss=False),
    "remove_password_after_reading": UnusedKey("lessee does not remove the file", "let what writes it remove it"),
    "scope": UnusedKey("lessee asks the metadata server for a resource", "write vault.auth.resource"),
    "secret_key": _IN_FILE,
    "session_token": _IN_FILE,
    "credential_poll_interval": _REREAD,
    "jwt_read_period": _REREAD,
    "reload": _REREAD,
    "remove_jwt_after_reading": _REREAD,
    "remove_jwt_follows_symlinks": _REREAD,
    "remove_secret_id_file_after_reading": _REREAD,
}
