"""Ways to break API keys, an MCP server and a frontend, each with the check that must fail."""

import base64
import gzip
import secrets
from contextlib import contextmanager
from urllib.parse import urlsplit

from lessee.host.openbao import free_port
from support.environments.breakages import CRITICAL, WARNING, Table
from support.servers.detours import outside
from support.servers.fault_proxy import Proxy, Status
from support.servers.https_provider import Provider

ROWS = Table()
broken = ROWS.broken


# API keys of providers


@broken("api_keys", "key-present", CRITICAL)
@contextmanager
def its_secret_is_missing(env):
    with env.with_key(secret="api-keys/nowhere"):
        yield


@broken("api_keys", "key-present", CRITICAL)
def its_secret_lacks_the_key(env):
    return env.with_key(key="token")


@broken("api_keys", "key-present", CRITICAL)
def it_is_a_placeholder(env):
    return env.with_secret("api-keys/openai", api_key="sk-your_openai_key")


@broken("api_keys", "key-accepted", CRITICAL)
def the_provider_rejects_it(env):
    return env.with_secret("api-keys/openai", api_key=env.value())


@broken("api_keys", "key-accepted", CRITICAL)
@contextmanager
def it_would_cross_the_network(env):
    provider = Provider("Authorization", "", host=outside())
    with env.with_key(url=provider.url):
        yield
    provider.close()
    assert provider.requests == []


@broken("api_keys", "key-accepted", WARNING)
def it_is_used_too_often(env):
    return env.with_key(url=f"{env.provider.url}/limited")


@broken("api_keys", "key-accepted", WARNING)
def it_has_no_credit(env):
    return env.with_key(url=f"{env.provider.url}/unpaid")


@broken("api_keys", "key-accepted", WARNING)
def the_provider_fails(env):
    return env.with_key(url=f"{env.provider.url}/broken")


@broken("api_keys", "key-accepted", WARNING)
@contextmanager
def the_provider_moved(env):
    with env.with_key(url=f"{env.provider.url}/moved"):
        yield
    assert "/elsewhere" not in {path for path, _ in env.provider.requests}


@broken("api_keys", "key-accepted", WARNING)
def the_provider_is_unavailable(env):
    return env.with_key(url=f"https://127.0.0.1:{free_port()}")


@broken("api_keys", "key-accepted", WARNING)
@contextmanager
def another_server_answers_for_the_provider(env):
    before = len(env.provider.requests)
    with env.with_environ(SSL_CERT_FILE=str(env.folder / "site.env")):
        yield
    assert len(env.provider.requests) == before


@broken("api_keys", "key-accepted", WARNING)
def it_is_invalid_in_a_header(env):
    env.values.append("fake\nkey-of-two-lines")
    return env.with_secret("api-keys/openai", api_key=env.values[-1])


# An MCP server


@broken("mcp_auth", "key-present", CRITICAL)
def the_servers_key_is_missing(env):
    return env.with_secret("mcp/memory", api_key=None, other="thing")


@broken("mcp_auth", "key-over-tls", CRITICAL)
def the_servers_key_would_cross_the_network(env):
    block = env.config["validate"]["mcp_auth"] | {"url": f"http://{outside()}:{free_port()}/mcp"}
    return env.with_config(validate={"mcp_auth": block})


@broken("mcp_auth", "key-accepted", CRITICAL)
def the_server_has_another_key(env):
    return env.with_secret("mcp/memory", api_key=env.value())


@broken("mcp_auth", "key-accepted", CRITICAL)
def the_server_is_unavailable(env):
    block = env.config["validate"]["mcp_auth"] | {"url": f"http://127.0.0.1:{free_port()}/mcp"}
    return env.with_config(validate={"mcp_auth": block})


@broken("mcp_auth", "key-accepted", CRITICAL, "wrong-key-rejected", "missing-key-rejected")
def the_path_is_not_the_servers(env):
    block = env.config["validate"]["mcp_auth"]
    return env.with_config(validate={"mcp_auth": block | {"url": block["url"] + "/nowhere"}})


@broken("mcp_auth", "key-accepted", CRITICAL)
@contextmanager
def the_proxy_in_front_of_the_server_fails(env):
    block = env.config["validate"]["mcp_auth"]
    with Proxy(urlsplit(block["url"]).port) as proxy:
        proxy.fault = Status(502)
        with env.with_config(validate={"mcp_auth": block | {"url": f"http://127.0.0.1:{proxy.port}/mcp"}}):
            yield


@broken("mcp_auth", "wrong-key-rejected", CRITICAL)
def the_server_accepts_any_key(env):
    return env.with_mcp("any")


@broken("mcp_auth", "missing-key-rejected", CRITICAL, "wrong-key-rejected")
def the_server_is_open(env):
    return env.with_mcp("open")


# The frontend


@broken("frontend", "public-variables", CRITICAL)
@contextmanager
def a_public_variable_holds_a_secret(env):
    file = env.folder / "leaky.env"
    file.write_text(f'A=1\nexport NEXT_PUBLIC_KEY = "{env.secrets["mcp/memory"]["api_key"]}"\n')
    with env.with_frontend(env_files=[str(file)]):
        yield


@broken("frontend", "public-variables", CRITICAL)
def an_env_file_is_missing(env):
    return env.with_frontend(env_files=["nowhere.env"])


@broken("frontend", "public-variables", CRITICAL)
def a_template_puts_a_secret_into_a_public_variable(env):
    return env.with_template("build.env.j2", 'VITE_X=x-{{ secret("mcp/memory").api_key }}\n')


@broken("frontend", "public-variables", CRITICAL)
@contextmanager
def a_template_puts_the_value_of_another_secret_into_a_public_variable(env):
    value = env.secrets["mcp/memory"]["api_key"]
    template = "VITE_X={{ secret('frontend/app').x }}\n"
    with env.with_template("build.env.j2", template), env.with_secret("frontend/app", x=value):
        yield


@broken("frontend", "public-variables", CRITICAL)
def a_variable_in_vault_has_the_value_of_a_secret(env):
    return env.with_secret("frontend/app", NEXT_PUBLIC_X=f"key={env.secrets['mcp/memory']['api_key']}")


@broken("frontend", "public-variables", CRITICAL)
def a_variable_in_vault_is_a_key(env):
    return env.with_secret("frontend/app", VITE_X=f"sk-{env.value()}")


@broken("frontend", "public-variables", CRITICAL)
def a_variable_in_vault_is_named_like_a_credential(env):
    return env.with_secret("frontend/app", REACT_APP_ADMIN_TOKEN=env.value())


@broken("frontend", "public-variables", CRITICAL)
def a_variable_in_vault_has_a_password(env):
    return env.with_secret("frontend/app", VITE_API_URL=f"https://app:{env.value()}@api.example.org")


@broken("frontend", "public-variables", CRITICAL)
def a_variable_in_vault_is_a_placeholder(env):
    return env.with_secret("frontend/app", VITE_API_URL="https://your_api_host", api_url="changeme")


@broken("frontend", "secrets-present", CRITICAL)
@contextmanager
def its_secret_does_not_exist(env):
    env.bao.ask("DELETE", "secret/metadata/testing/frontend/app")
    yield
    env.write("frontend/app", **env.secrets["frontend/app"])
    env.agent.until(lambda status: status["fresh"])


@broken("frontend", "dist-present", CRITICAL)
def it_was_not_built(env):
    return env.with_frontend(dist="nowhere")


@broken("frontend", "dist-without-secrets", CRITICAL)
def a_value_is_in_a_source_map(env):
    return env.with_file("assets/index.js.map", b'{"x": "' + env.secrets["mcp/memory"]["api_key"].encode() + b'"}')


@broken("frontend", "dist-without-secrets", CRITICAL)
def a_value_is_in_a_compressed_file(env):
    return env.with_file("assets/x.js.gz", gzip.compress(b"x=" + env.secrets["mcp/memory"]["api_key"].encode()))


@broken("frontend", "dist-without-secrets", CRITICAL)
def a_value_is_in_base64(env):
    return env.with_file("assets/x.js", base64.b64encode(env.secrets["mcp/memory"]["api_key"].encode()))


@broken("frontend", "dist-without-keys", WARNING)
def a_string_looks_like_a_key(env):
    return env.with_file("assets/x.js", b'k="sk-or-v1-' + secrets.token_hex(16).encode() + b'"')


@broken("frontend", "dist-without-keys", WARNING)
def a_file_has_a_private_key(env):
    return env.with_file("x.pem", b"-----BEGIN RSA PRIVATE KEY-----\nMII")
