"""How keys of APIs, an MCP server and a frontend are broken, and which check must fail then."""

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


# Keys of other people's APIs


@broken("api_keys", "key-present", CRITICAL)
@contextmanager
def its_secret_is_not_there(it):
    with it.with_key(secret="api-keys/nowhere"):
        yield


@broken("api_keys", "key-present", CRITICAL)
def its_secret_has_no_such_key(it):
    return it.with_key(key="token")


@broken("api_keys", "key-present", CRITICAL)
def it_is_a_placeholder(it):
    return it.with_secret("api-keys/openai", api_key="sk-your_openai_key")


@broken("api_keys", "key-accepted", CRITICAL)
def the_provider_refuses_it(it):
    return it.with_secret("api-keys/openai", api_key=it.value())


@broken("api_keys", "key-accepted", CRITICAL)
@contextmanager
def it_would_cross_the_network(it):
    provider = Provider("Authorization", "", host=outside())
    with it.with_key(url=provider.url):
        yield
    provider.close()
    assert provider.requests == []


@broken("api_keys", "key-accepted", WARNING)
def it_is_asked_too_often(it):
    return it.with_key(url=f"{it.provider.url}/limited")


@broken("api_keys", "key-accepted", WARNING)
def it_has_no_credit(it):
    return it.with_key(url=f"{it.provider.url}/unpaid")


@broken("api_keys", "key-accepted", WARNING)
def the_provider_is_in_trouble(it):
    return it.with_key(url=f"{it.provider.url}/broken")


@broken("api_keys", "key-accepted", WARNING)
@contextmanager
def the_provider_moved(it):
    with it.with_key(url=f"{it.provider.url}/moved"):
        yield
    assert "/elsewhere" not in {path for path, _ in it.provider.requests}


@broken("api_keys", "key-accepted", WARNING)
def the_provider_is_away(it):
    return it.with_key(url=f"https://127.0.0.1:{free_port()}")


@broken("api_keys", "key-accepted", WARNING)
@contextmanager
def somebody_else_answers_for_the_provider(it):
    before = len(it.provider.requests)
    with it.with_environ(SSL_CERT_FILE=str(it.folder / "site.env")):
        yield
    assert len(it.provider.requests) == before


@broken("api_keys", "key-accepted", WARNING)
def no_header_can_hold_it(it):
    it.values.append("fake\nkey-of-two-lines")
    return it.with_secret("api-keys/openai", api_key=it.values[-1])


# An MCP server


@broken("mcp_auth", "key-present", CRITICAL)
def the_servers_key_is_not_there(it):
    return it.with_secret("mcp/memory", api_key=None, other="thing")


@broken("mcp_auth", "key-kept-private", CRITICAL)
def the_servers_key_would_cross_the_network(it):
    block = it.config["validate"]["mcp_auth"] | {"url": f"http://{outside()}:{free_port()}/mcp"}
    return it.with_config(validate={"mcp_auth": block})


@broken("mcp_auth", "key-let-in", CRITICAL)
def the_server_has_another_key(it):
    return it.with_secret("mcp/memory", api_key=it.value())


@broken("mcp_auth", "key-let-in", CRITICAL)
def the_server_is_away(it):
    block = it.config["validate"]["mcp_auth"] | {"url": f"http://127.0.0.1:{free_port()}/mcp"}
    return it.with_config(validate={"mcp_auth": block})


@broken("mcp_auth", "key-let-in", CRITICAL, "wrong-key-refused", "no-key-refused")
def there_is_no_server_at_that_path(it):
    block = it.config["validate"]["mcp_auth"]
    return it.with_config(validate={"mcp_auth": block | {"url": block["url"] + "/nowhere"}})


@broken("mcp_auth", "key-let-in", CRITICAL)
@contextmanager
def the_proxy_before_the_server_is_in_trouble(it):
    block = it.config["validate"]["mcp_auth"]
    with Proxy(urlsplit(block["url"]).port) as proxy:
        proxy.fault = Status(502)
        with it.with_config(validate={"mcp_auth": block | {"url": f"http://127.0.0.1:{proxy.port}/mcp"}}):
            yield


@broken("mcp_auth", "wrong-key-refused", CRITICAL)
def the_server_takes_any_key(it):
    return it.with_mcp("any")


@broken("mcp_auth", "no-key-refused", CRITICAL, "wrong-key-refused")
def the_server_is_open(it):
    return it.with_mcp("open")


# What visitors get


@broken("frontend", "public-variables", CRITICAL)
@contextmanager
def a_public_variable_holds_a_secret(it):
    file = it.folder / "leaky.env"
    file.write_text(f'A=1\nexport NEXT_PUBLIC_KEY = "{it.secrets["mcp/memory"]["api_key"]}"\n')
    with it.with_frontend(env_files=[str(file)]):
        yield


@broken("frontend", "public-variables", CRITICAL)
def an_env_file_is_not_there(it):
    return it.with_frontend(env_files=["nowhere.env"])


@broken("frontend", "public-variables", CRITICAL)
def a_template_gives_a_public_variable_a_secret(it):
    return it.with_template("build.env.j2", 'VITE_X=x-{{ secret("mcp/memory").api_key }}\n')


@broken("frontend", "public-variables", CRITICAL)
@contextmanager
def a_template_gives_a_public_variable_what_is_a_secret_elsewhere(it):
    value = it.secrets["mcp/memory"]["api_key"]
    template = "VITE_X={{ secret('frontend/app').x }}\n"
    with it.with_template("build.env.j2", template), it.with_secret("frontend/app", x=value):
        yield


@broken("frontend", "dist-present", CRITICAL)
def it_was_not_built(it):
    return it.with_frontend(dist="nowhere")


@broken("frontend", "dist-without-secrets", CRITICAL)
def a_value_is_in_a_source_map(it):
    return it.with_file("assets/index.js.map", b'{"x": "' + it.secrets["mcp/memory"]["api_key"].encode() + b'"}')


@broken("frontend", "dist-without-secrets", CRITICAL)
def a_value_is_in_what_is_packed(it):
    return it.with_file("assets/x.js.gz", gzip.compress(b"x=" + it.secrets["mcp/memory"]["api_key"].encode()))


@broken("frontend", "dist-without-secrets", CRITICAL)
def a_value_is_there_in_base64(it):
    return it.with_file("assets/x.js", base64.b64encode(it.secrets["mcp/memory"]["api_key"].encode()))


@broken("frontend", "dist-without-keys", WARNING)
def what_looks_like_a_key_is_there(it):
    return it.with_file("assets/x.js", b'k="sk-or-v1-' + secrets.token_hex(16).encode() + b'"')


@broken("frontend", "dist-without-keys", WARNING)
def a_private_key_is_there(it):
    return it.with_file("x.pem", b"-----BEGIN RSA PRIVATE KEY-----\nMII")
