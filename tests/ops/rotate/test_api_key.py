"""Keys of a provider: no key is left, the published key is never revoked, and no key is sent without TLS."""

import re
import sys
import threading

import pytest
import yaml

from lessee.core.errors import ConfigError, LesseeError
from lessee.host.project import read
from lessee.ops.rotate import recipes
from lessee.ops.rotate.http import Client
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import RotationTarget
from support.paths import ROOT
from support.programs.sidecar import eventually
from support.servers.api_key_provider import Keyring
from support.servers.certificate_authority import Authority
from support.systems.api_key import ProviderKeys

VERIFY_ONLY = {"anthropic", "brave", "github", "huggingface", "mistral", "openai-project"}
"""The recipes of providers that let only a person create a key."""


@pytest.fixture
def ring():
    ring = Keyring()
    yield ring
    ring.close()


@pytest.fixture
def target(bao, tmp_path, ring):
    return RotationTarget(bao, tmp_path, ProviderKeys(ring))


@pytest.fixture
def with_recipe(bao, tmp_path, ring):
    """Creates a target with the example recipe and these changes; None removes a key."""

    def make(changes, **settings):
        example = yaml.safe_load((recipes.files(recipes.__name__) / "example.yaml").read_text())
        recipe = {key: value for key, value in (example | changes).items() if value is not None}
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe))
        return RotationTarget(bao, tmp_path, ProviderKeys(ring), recipe="own.yaml", **settings)

    return make


def labels(ring):
    return sorted(key["name"] for key in ring.keys.values())


@pytest.mark.parametrize("name", recipes.names())
def test_included_recipes_are_valid_and_require_tls(name, tmp_path):
    can_create = name not in VERIFY_ONLY
    recipe = recipes.load(name, tmp_path, whole=can_create)
    assert (recipe.list is not None) == can_create
    assert not recipe.insecure
    for request in recipe.requests.values():
        assert request.url.startswith(("https://", "{admin.base_url}/"))
        assert "key." not in request.url
        assert "admin." not in request.url.removeprefix("{admin.base_url}")


def test_the_first_key_is_found_by_its_masked_form(target, ring):
    target.rotate()
    assert labels(ring) == [f"lessee-target-{target.journal.history[-1].id}"]


def test_the_first_key_is_found_by_a_request_with_it(with_recipe, ring):
    find = {"url": "{admin.base_url}/me", "headers": {"Authorization": "Bearer {key.api_key}"}, "handle": "$.id"}
    target = with_recipe({"list": None, "find": find})
    target.rotate()
    assert len(ring.keys) == 1
    assert target.system.accepts(target.fields())


def test_a_first_key_without_a_known_handle_is_logged_for_manual_revocation(with_recipe, ring, caplog):
    target = with_recipe({"list": None})
    assert target.rotate() is Outcome.ROTATED
    assert len(ring.keys) == 2
    [record] = [record for record in caplog.records if record.getMessage() == "handle of the old key unknown"]
    assert record.fields["todo"] == "revoke the key in the provider's console"
    target.rotate()  # lessee has created the second key, and knows its handle.
    assert len(ring.keys) == 2
    assert target.system.first in ring.keys


def test_a_key_that_a_user_has_published_is_the_one_that_is_revoked(target, ring):
    target.rotate()
    previous = next(iter(ring.keys))
    manual, key = ring.create("created manually")
    target.put(target.secret_path, **{**target.fields(), "api_key": key})
    target.rotate()
    assert manual not in ring.keys
    assert previous in ring.keys  # An unpublished key is left for the user to revoke.


def test_who_writes_a_key_like_that_of_another_client_does_not_have_it_revoked(target, ring):
    """The list of a provider's keys, which many people see, has their beginning and end."""
    other, key = ring.create("another client")
    target.put(target.secret_path, **{**target.fields(), "api_key": f"sk-guessed{key[-6:]}"})
    assert target.rotate() is Outcome.ROTATED
    assert other in ring.keys


def test_other_keys_are_not_revoked(target, ring):
    others = {ring.create(name)[0] for name in ("lessee-target-", "lessee-other-0123", "created manually", "x") * 3}
    target.rotate()
    assert others < ring.keys.keys()
    assert len(ring.keys) == len(others) + 1


def test_a_key_is_disabled_and_deleted_after_the_delay(with_recipe, ring):
    target = with_recipe({}, delete_delay="1h")
    assert target.rotate() is Outcome.ROTATED
    assert ring.keys[target.system.first]["disabled"]
    assert target.journal.step is Step.RETAINING
    target.expire_delete_delay()
    eventually(lambda: target.rotate(finish_only=True) is Outcome.NOTHING)
    assert target.system.first not in ring.keys
    assert len(ring.keys) == 1


def test_delete_delay_needs_a_recipe_with_disable(with_recipe):
    with pytest.raises(LesseeError, match=r"`delete_delay` needs a recipe with `disable`, and .*own\.yaml has none"):
        with_recipe({"disable": None}, delete_delay="1h").rotate()


def test_a_key_of_a_lost_response_is_revoked_before_the_next_is_created(target, ring):
    def create_and_disconnect(handler, body):
        ring.create(body["name"])
        handler.close_connection = True
        handler.connection.close()

    ring.overrides["POST", "keys"] = create_and_disconnect
    with pytest.raises(
        SystemUnavailableError, match="the server closed the connection before its response was complete"
    ):
        target.rotate()
    assert len(ring.keys) == 2
    ring.overrides.clear()
    target.rotate(finish_only=True)
    assert len(ring.keys) == 1
    assert target.system.accepts(target.fields())


def test_a_key_that_cannot_be_listed_after_a_kill_is_logged_with_its_label(with_recipe, caplog):
    target = with_recipe({"list": None})
    target._calls = ("lessee.ops.rotate.http:Client.ask",)
    assert target.rotate_and_kill(0, after=True)
    assert target.journal.step is Step.CREATING
    label = f"lessee-target-{target.journal.id}"
    target.rotate(finish_only=True)
    [record] = [record for record in caplog.records if "interrupted attempt may have left a key" in record.getMessage()]
    assert record.fields["label"] == label


def test_a_suspended_rotator_leaves_no_key(target, ring):
    """It has created the key after another rotator took over and created one. The key is revoked with the old one."""
    leftovers = []

    def create_twice(handler, body):
        if not leftovers:
            leftovers.append(ring.create(body["name"])[0])
        id_, key = ring.create(body["name"])
        handler.respond(201, {"key": key, "data": {"id": id_}})

    ring.overrides["POST", "keys"] = create_twice
    target.rotate()
    assert leftovers[0] not in ring.keys
    assert len(ring.keys) == 1


def test_a_rejected_new_key_is_revoked_and_no_other_is_created(target, ring):
    ring.overrides["GET", "me"] = 401
    with pytest.raises(SystemRefusedError, match="the system rejects the new credential"):
        target.rotate()
    assert list(ring.keys) == [target.system.first]
    assert [method for method, _ in ring.requests].count("POST") == 1
    assert target.journal.failures == 1
    ring.overrides.clear()
    assert target.rotate() is Outcome.ROTATED


def test_a_new_key_may_need_time_to_propagate(with_recipe, ring):
    headers = {"Authorization": "Bearer {key.api_key}"}
    verify = {"url": "{admin.base_url}/me", "headers": headers, "propagation_delay": "10s"}
    target = with_recipe({"verify": verify})
    rejections = iter((401, 401))
    ring.overrides["GET", "me"] = lambda handler, _: handler.respond(next(rejections, 200), {})
    assert target.rotate() is Outcome.ROTATED


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize(
    ("method", "resource", "status", "error", "text"),
    [
        (
            "POST",
            "keys",
            401,
            SystemRefusedError,
            "the provider answers `create` with status 401; check that the admin's key is valid",
        ),
        (
            "POST",
            "keys",
            400,
            SystemRefusedError,
            "the provider answers `create` with status 400; correct the recipe: see the provider's documentation",
        ),
        ("POST", "keys", 302, SystemRefusedError, "`create` with status 302; write the new URL into the recipe"),
        ("POST", "keys", 503, SystemUnavailableError, "`create` with status 503; lessee retries it"),
        ("POST", "keys", 429, SystemUnavailableError, "`create` with status 429; lessee retries it"),
        ("GET", "keys", 500, SystemUnavailableError, "`list` with status 500"),
        ("GET", "me", 502, SystemUnavailableError, "`verify` with status 502"),
        ("DELETE", "keys", 403, SystemRefusedError, "`revoke` with status 403"),
        ("POST", "keys", 200, SystemRefusedError, "`create` with status 200"),
    ],
)
def test_a_failed_request_is_reported_without_the_response_and_retried_later(
    target, ring, method, resource, status, error, text
):
    ring.overrides[method, resource] = status
    with pytest.raises(error, match=text) as caught:
        target.rotate()
    assert ring.admin not in str(caught.value)
    assert target.system.accepts(target.fields())
    ring.overrides.clear()
    target.recover()
    assert target.journal.step is Step.IDLE
    assert target.system.orphans(target.fields()) == set()


@pytest.mark.parametrize("document", [None, [], {}, {"key": 7}, {"key": "", "data": {"id": "x"}}, {"key": "k"}])
def test_a_response_without_a_key_is_reported_and_the_created_key_revoked(target, ring, document):
    def respond_without_key(handler, body):
        ring.create(body["name"])
        handler.respond(201, document)

    ring.overrides["POST", "keys"] = respond_without_key
    with pytest.raises(SystemRefusedError, match="unexpected response to `create`: no"):
        target.rotate()
    ring.overrides.clear()
    target.rotate(finish_only=True)
    assert len(ring.keys) == 1


def test_a_missing_key_counts_as_revoked(target, ring):
    target.rotate()
    ring.overrides["DELETE", "keys"] = lambda handler, _: handler.respond(404, {})
    assert target.rotate() is Outcome.ROTATED


def test_a_key_missing_in_the_admins_secret_is_reported_before_the_rotation_starts(target, ring):
    target.put("admin/example", base_url=ring.url, token="x")
    with pytest.raises(
        LesseeError, match="the recipe uses api_key of the admin's secret, which lacks it; write it there"
    ):
        target.rotate()
    assert ring.requests == []


def test_a_key_missing_in_the_secret_is_reported_with_its_placeholder(with_recipe):
    verify = {"url": "{secret.base_url}/me", "headers": {"Authorization": "Bearer {key.api_key}"}}
    target = with_recipe({"list": None, "verify": verify})
    target.put(target.secret_path, api_key="an-old-key")
    with pytest.raises(
        SystemRefusedError, match=r"verify: \{secret\.base_url\} has no value; correct the recipe, the secret"
    ):
        target.rotate()


def test_an_endless_list_is_not_read_to_its_end(target, ring, monkeypatch):
    monkeypatch.setattr("lessee.ops.rotate.recipe_client._MAX_PAGES", 3)
    for number in range(20):
        ring.create(f"n{number}")
    with pytest.raises(SystemRefusedError, match="the list has more than 3 pages"):
        target.rotate()


def test_no_key_is_sent_without_tls_unless_the_recipe_allows_it(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("the request was sent")

    monkeypatch.setattr("lessee.host.http_client.request", fail)
    with pytest.raises(
        SystemRefusedError, match=r"http://192\.0\.2\.1: the key would cross the network without TLS; write https"
    ):
        Client(insecure=False).ask("GET", "http://192.0.2.1/keys/the-key", {}, None, timeout=1)
    with pytest.raises(AssertionError, match="the request was sent"):
        Client(insecure=True).ask("GET", "http://192.0.2.1/keys", {}, None, timeout=1)


def test_a_redirect_is_not_followed(ring):
    elsewhere = Keyring()
    try:
        ring.overrides["GET", "me"] = lambda handler, _: handler.respond(302, {}, [("Location", f"{elsewhere.url}/me")])
        answer = Client(insecure=False).ask("GET", f"{ring.url}/me", {"Authorization": "Bearer x"}, None, timeout=5)
        assert answer.status == 302
        assert elsewhere.requests == []
    finally:
        elsewhere.close()


def test_an_untrusted_certificate_is_rejected(tmp_path, monkeypatch):
    authority = Authority(tmp_path / "ca.pem")
    authority.issue(tmp_path / "pair.pem", 1)
    ring = Keyring(pair=tmp_path / "pair.pem")
    try:
        with pytest.raises(
            SystemUnavailableError,
            match="provider unavailable: the server's certificate is not trusted: unable to get local issuer",
        ):
            Client(insecure=True).ask("GET", f"{ring.url}/me", {}, None, timeout=5)
        assert ring.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert Client(insecure=False).ask("GET", f"{ring.url}/me", {}, None, timeout=5).status == 401
    finally:
        ring.close()


def test_an_endless_or_slow_response_is_abandoned(ring):
    def endless(handler, _):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    done = threading.Event()

    def slow(handler, _):
        handler.send_response(200)
        handler.end_headers()
        while not done.wait(0.05):
            handler.wfile.write(b"x")

    for override, timeout, reason in (
        (endless, 10, "the response is larger than 1048576 bytes"),
        (slow, 0.5, "no response within 0.5 s"),
    ):
        ring.overrides["GET", "me"] = override
        with pytest.raises(SystemUnavailableError, match=reason):
            Client(insecure=False).ask("GET", f"{ring.url}/me", {}, None, timeout=timeout)
    done.set()


def test_a_refused_connection_is_reported(ring):
    ring.close()
    with pytest.raises(
        SystemUnavailableError, match="connection refused; check that this machine can reach the provider"
    ):
        Client(insecure=False).ask("GET", f"{ring.url}/me", {}, None, timeout=1)


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://127.0.0.1:1/a b-the-key", {}),
        ("http://[the-key", {}),
        ("http://127.0.0.1:the-key/", {}),
        ("http://127.0.0.1:1/", {"X": "the-key\n"}),
    ],
)
def test_an_invalid_url_or_header_is_not_quoted(url, headers):
    with pytest.raises(
        SystemRefusedError, match=r"the URL is invalid|the URL has no valid host|a header holds a character"
    ) as caught:
        Client(insecure=True).ask("GET", url, headers, None, timeout=1)
    assert "the-key" not in str(caught.value)


def test_no_log_and_no_error_holds_a_key(target, ring, caplog):
    """Also where the provider repeats in its responses what it was sent."""
    caplog.set_level("DEBUG", logger="lessee")
    keys, errors = {ring.admin, target.fields()["api_key"]}, []
    for method, resource in (("POST", "keys"), ("GET", "keys"), ("GET", "me"), ("DELETE", "keys")):
        ring.overrides[method, resource] = 418
        with pytest.raises(SystemRefusedError) as caught:
            target.rotate()
        errors.append(repr(caught.value))
        keys |= {key["key"] for key in ring.keys.values()}
        ring.overrides.clear()
        target.rotate()
        keys |= {key["key"] for key in ring.keys.values()}
    logged = (f"{record.getMessage()} {getattr(record, 'fields', {})}" for record in caplog.records)
    text = "\n".join([*errors, *logged])
    assert "status 418" in text
    assert [key for key in keys if key in text] == []


def test_a_missing_library_is_reported_with_its_install_command(target, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonpath", None)
    with pytest.raises(LesseeError, match=r"the library jsonpath is missing; pip install 'lessee\[rotate\]'"):
        target.rotate()


README = ROOT / "templates/rotation/README.md"


def test_the_examples_of_the_readme_are_valid(tmp_path):
    examples = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    rotation = [text for text in examples if text.startswith("rotation:")]
    assert len(rotation) == 3
    for text in rotation:
        (tmp_path / "lessee.yaml").write_text(f"environment: testing\n{text}")
        assert read(tmp_path / "lessee.yaml", {}, blocks=("rotation",)).rotation
    [recipe] = set(examples) - set(rotation)
    (tmp_path / "internal.yaml").write_text(recipe)
    assert list(recipes.load("./internal.yaml", tmp_path, whole=True).requests) == [
        *("create", "list", "verify", "disable", "revoke"),
    ]


@pytest.mark.parametrize("content", [b"\xff", b""])
def test_an_invalid_recipe_is_reported_with_its_file(tmp_path, content):
    (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        recipes.load("./own.yaml", tmp_path, whole=True)
