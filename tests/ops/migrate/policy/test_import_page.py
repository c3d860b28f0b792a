"""The tables of the page of imports: each row is what the import makes of its example, and none is missing."""

import pytest

from lessee.ops.migrate.policy.jinja.functions import _RULES
from support.migration_table import outcome, rows

WRITE_PAGE = "PYTHONPATH=tests .venv/bin/python -m support.migration_table"
ROWS = list(rows())
NAMES = {kind: {cells[0].strip("`") for found, *cells in ROWS if found == kind} for kind, *_ in ROWS}

AGENT = """
api_proxy auto_auth.enable_reauth_on_new_credentials auto_auth.sink cache disable_idle_connections disable_keep_alives
env_template.contents env_template.error_on_missing_key env_template.left_delimiter env_template.right_delimiter
env_template.source exec.command exec.restart_on_secret_changes exec.restart_stop_signal exit_after_auth listener
log_file log_format log_level log_rotate_bytes log_rotate_duration log_rotate_max_files pid_file telemetry
template.backup template.command template.command_timeout template.contents template.create_dest_dirs
template.destination template.error_fatal template.error_on_missing_key template.exec template.function_blacklist
template.function_denylist template.gid template.group template.left_delimiter template.perms template.right_delimiter
template.sandbox_path template.source template.uid template.user template.wait
template_config.exit_on_retry_failure template_config.lease_renewal_threshold template_config.max_connections_per_host
template_config.static_secret_render_interval
vault.address vault.ca_cert vault.ca_path vault.client_cert vault.client_key vault.namespace vault.retry
vault.tls_server_name vault.tls_skip_verify
approle.config.remove_secret_id_file_after_reading approle.config.secret_id_file_path approle.mount_path
approle.config.secret_id_response_wrapping_path approle.exit_on_err approle.max_backoff approle.min_backoff
approle.namespace approle.wrap_ttl cert.config.ca_cert cert.config.name cert.config.reload jwt.config.jwt_read_period
jwt.config.remove_jwt_after_reading jwt.config.remove_jwt_follows_symlinks kubernetes.config.token_path
"""
"""The keys of OpenBao's agent 2.7 and of Vault Agent 1.21, from their documentation and sources."""

METHODS = "alicloud approle aws azure cert cf gcp jwt kerberos kubernetes ldap oci token_file userpass"

CONSUL_TEMPLATE = """
block_query_wait consul deduplicate default_delimiters err_on_failed_lookup exec.command exec.enabled exec.env
exec.kill_signal exec.kill_timeout exec.reload_signal exec.splay exec.timeout kill_signal log_file log_level max_stale
nomad once pid_file reload_signal syslog template_error_fatal wait
template.exec.enabled template.exec.env template.exec.kill_signal template.exec.kill_timeout template.exec.splay
template.exec.reload_signal
vault.address vault.client_user_agent vault.default_lease_duration vault.enabled vault.k8s_auth_role_name
vault.k8s_service_account_token vault.k8s_service_account_token_path vault.k8s_service_mount_path
vault.lease_renewal_threshold vault.namespace vault.renew_token vault.retry vault.ssl.ca_cert vault.ssl.ca_cert_bytes
vault.ssl.ca_path vault.ssl.cert vault.ssl.enabled vault.ssl.key vault.ssl.server_name vault.ssl.verify vault.token
vault.transport vault.unwrap_token vault.vault_agent_token_file
"""
"""The keys of consul-template 0.41, besides those of `template`."""

FUNCTIONS = """
add and base64Decode base64Encode base64URLDecode base64URLEncode byKey byMeta byPort byTag caLeaf caRoots call
connect contains containsAll containsAny containsNone containsNotAll datacenters divide env envOrDefault eq
executeTemplate explode explodeMap exportedServices file ge gt hmacSHA256Hex html importedServices in indent index
join js key keyExists keyOrDefault le len loop ls lt maximum md5sum mergeMap mergeMapWithOverride minimum modulo
multiply mustEnv ne node nodes nomadService nomadServices nomadVar nomadVarExists nomadVarList nomadVarListSafe not or
parseBool parseFloat parseInt parseJSON parseUint parseYAML partitions peerings pkiCert plugin print printf println
regexMatch regexReplaceAll replaceAll safeLs safeTree scratch.Get scratch.Key scratch.MapSet scratch.MapSetX
scratch.MapValues scratch.Set scratch.SetX secret secrets service services sha256Hex slice sockaddr spew_dump
spew_printf spew_sdump spew_sprintf split splitToMap subtract timestamp toJSON toJSONPretty toLower toTOML toTitle
toUnescapedJSON toUnescapedJSONPretty toUpper toYAML tree trim trimPrefix trimSpace trimSuffix urlquery writeToFile
"""
"""The functions of consul-template 0.41 and of Go's text/template, and the methods of `scratch`."""

FIELDS = ".Auth .Data .Data.metadata .LeaseDuration .LeaseID .Renewable .RequestID .Warnings .WrapInfo"
ACTIONS = "if,with,range over a list,range over a map,break,continue,variables,comments,trim markers,block"


@pytest.mark.no_cover
@pytest.mark.parametrize(("kind", "key", "example", "cell"), ROWS, ids=[f"{kind} {key}" for kind, key, _, _ in ROWS])
def test_a_row_is_what_the_import_makes_of_its_example(kind, key, example, cell):
    assert outcome(kind, key, example) == cell, f"run: {WRITE_PAGE}, and review the change"


def test_no_key_of_the_other_agents_is_missing():
    methods = {f'auto_auth.method "{method}"' for method in METHODS.split()}
    assert {*AGENT.split(), *methods} - NAMES["agent"] == set()
    assert set(CONSUL_TEMPLATE.split()) - NAMES["consul-template"] == set()


def test_no_function_method_or_action_is_missing():
    supported = {name for name in _RULES if name.startswith("sprig_")}
    every = {*FUNCTIONS.split(), *FIELDS.split(), *ACTIONS.split(","), *supported}
    assert every - NAMES["template"] == set()
