"""Keys of a provider: none is left over, the published one is never revoked, and no key goes where it must not."""

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
from support.environments.rotation_targets import Rotated
from support.paths import ROOT
from support.programs.sidecar import eventually
from support.servers.api_key_provider import Keyring
from support.servers.certificate_authority import Authority
from support.systems.api_key import ProviderKeys


@pytest.fixture
def ring():
    ring = Keyring()
    yield ring
    ring.close()


@pytest.fixture
def rotated(bao, tmp_path, ring):
    return Rotated(bao, tmp_path, ProviderKeys(ring))


@pytest.fixture
def with_recipe(bao, tmp_path, ring):
    """Over the example, with these keys changed; None takes one out."""

    def make(changes, **settings):
        example = yaml.safe_load((recipes.files(recipes.__name__) / "example.yaml").read_text())
        said = {key: value for key, value in (example | changes).items() if value is not None}
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(said))
        return Rotated(bao, tmp_path, ProviderKeys(ring), recipe="own.yaml", **settings)

    return make


def labels(ring):
    return sorted(one["name"] for one in ring.keys.values())


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_that_lessee_has_can_be_read_and_keeps_keys_off_the_clear_network(name, tmp_path):
    recipe = recipes.load(name, tmp_path, whole=True)
    assert recipe.list is not None
    assert not recipe.insecure
    for request in recipe.requests.values():
        assert request.url.startswith(("https://", "{secret.base_url}/"))
        assert "key." not in request.url
        assert "admin." not in request.url


def test_the_first_key_is_found_by_what_the_list_shows_of_it(rotated, ring):
    rotated.rotate()
    assert labels(ring) == [f"lessee-target-{rotated.journal.history[-1].id}"]


def test_the_first_key_is_found_by_asking_with_it(with_recipe, ring):
    find = {"url": "{secret.base_url}/me", "headers": {"Authorization": "Bearer {key.api_key}"}, "handle": "$.id"}
    rotated = with_recipe({"list": None, "find": find})
    rotated.rotate()
    assert len(ring.keys) == 1
    assert rotated.system.lets_in(rotated.fields())


def test_a_first_key_that_nobody_can_find_is_left_and_told(with_recipe, ring, caplog):
    rotated = with_recipe({"list": None})
    assert rotated.rotate() is Outcome.ROTATED
    assert len(ring.keys) == 2
    [told] = [one for one in caplog.records if "nobody knows what the API calls the old key" in one.getMessage()]
    assert told.fields["todo"] == "look for it where the provider shows its keys, and revoke it"
    rotated.rotate()  # The second is lessee's own, and known.
    assert len(ring.keys) == 2
    assert rotated.system.first in ring.keys


def test_a_key_that_a_person_put_there_meanwhile_is_the_one_that_is_revoked(rotated, ring):
    rotated.rotate()
    known = next(iter(ring.keys))
    of_a_person, key = ring.make("of a person")
    rotated.put(rotated.secret_path, **{**rotated.fields(), "api_key": key})
    rotated.rotate()
    assert of_a_person not in ring.keys
    assert known in ring.keys  # What is not published is a person's to judge.


def test_keys_of_others_are_left_alone(rotated, ring):
    others = {ring.make(name)[0] for name in ("lessee-target-", "lessee-other-0123", "made by hand", "x") * 3}
    rotated.rotate()
    assert others < ring.keys.keys()
    assert len(ring.keys) == len(others) + 1


def test_a_key_is_kept_disabled_and_then_removed(with_recipe, ring):
    rotated = with_recipe({}, keep="1h")
    assert rotated.rotate() is Outcome.ROTATED
    assert ring.keys[rotated.system.first]["disabled"]
    assert rotated.journal.step is Step.RETAINING
    rotated.let_it_be_kept_no_longer()
    eventually(lambda: rotated.rotate(finish_only=True) is Outcome.NOTHING)
    assert rotated.system.first not in ring.keys
    assert len(ring.keys) == 1


def test_to_keep_a_key_the_recipe_must_be_able_to_disable_it(with_recipe):
    with pytest.raises(
        LesseeError, match=r"`keep` wants a recipe that can disable a key, and own\.yaml says no `disable`"
    ):
        with_recipe({"disable": None}, keep="1h").rotate()


def test_what_a_lost_answer_left_is_revoked_before_another_is_asked_for(rotated, ring):
    def made_and_lost(handler, body):
        ring.make(body["name"])
        handler.close_connection = True
        handler.connection.close()

    ring.turn["POST", "keys"] = made_and_lost
    with pytest.raises(
        SystemUnavailableError, match="the server closed the connection before its response was complete"
    ):
        rotated.rotate()
    assert len(ring.keys) == 2
    ring.turn.clear()
    rotated.rotate(finish_only=True)
    assert len(ring.keys) == 1
    assert rotated.system.lets_in(rotated.fields())


def test_what_cannot_be_found_after_a_kill_is_told_by_its_label(with_recipe, caplog):
    rotated = with_recipe({"list": None})
    rotated._calls = ("lessee.ops.rotate.http:Client.ask",)
    assert rotated.killed(0, after=True)
    assert rotated.journal.step is Step.CREATING
    label = f"lessee-target-{rotated.journal.id}"
    rotated.rotate(finish_only=True)
    [told] = [one for one in caplog.records if "a try that was killed may have left a key" in one.getMessage()]
    assert told.fields["label"] == label


def test_one_who_stood_still_leaves_no_key_behind(rotated, ring):
    """He made it after another had taken over and made one: it is revoked when the old one is retired."""
    seen = []

    def also_by_another(handler, body):
        if not seen:
            seen.append(ring.make(body["name"])[0])
        made, key = ring.make(body["name"])
        handler.say(201, {"key": key, "data": {"id": made}})

    ring.turn["POST", "keys"] = also_by_another
    rotated.rotate()
    assert seen[0] not in ring.keys
    assert len(ring.keys) == 1


def test_a_new_key_that_is_not_let_in_is_revoked_and_no_other_is_made(rotated, ring):
    ring.turn["GET", "me"] = 401
    with pytest.raises(SystemRefusedError, match="the new credential is not let in"):
        rotated.rotate()
    assert list(ring.keys) == [rotated.system.first]
    assert [method for method, _ in ring.requests].count("POST") == 1
    assert rotated.journal.failures == 1
    ring.turn.clear()
    assert rotated.rotate() is Outcome.ROTATED


def test_a_new_key_may_need_a_moment(with_recipe, ring):
    prove = {"url": "{secret.base_url}/me", "headers": {"Authorization": "Bearer {key.api_key}"}, "settle": "10s"}
    rotated = with_recipe({"prove": prove})
    refusals = iter((401, 401))
    ring.turn["GET", "me"] = lambda handler, _: handler.say(next(refusals, 200), {})
    assert rotated.rotate() is Outcome.ROTATED


@pytest.mark.parametrize(
    ("method", "what", "status", "error", "told"),
    [
        (
            "POST",
            "keys",
            401,
            SystemRefusedError,
            "create is answered with status 401; see whether the admin's key is valid",
        ),
        (
            "POST",
            "keys",
            400,
            SystemRefusedError,
            "create is answered with status 400; see the provider's documentation",
        ),
        ("POST", "keys", 302, SystemRefusedError, "create is answered with status 302; a redirect is not followed"),
        ("POST", "keys", 503, SystemUnavailableError, "create is answered with status 503; it is tried again"),
        ("POST", "keys", 429, SystemUnavailableError, "create is answered with status 429; it is tried again"),
        ("GET", "keys", 500, SystemUnavailableError, "list is answered with status 500"),
        ("GET", "me", 502, SystemUnavailableError, "prove is answered with status 502"),
        ("DELETE", "keys", 403, SystemRefusedError, "revoke is answered with status 403"),
        ("POST", "keys", 200, SystemRefusedError, "create is answered with status 200"),
    ],
)
def test_an_answer_that_is_no_success_is_told_without_its_text_and_made_good_later(
    rotated, ring, method, what, status, error, told
):
    ring.turn[method, what] = status
    with pytest.raises(error, match=told) as caught:
        rotated.rotate()
    assert ring.admin not in str(caught.value)
    assert rotated.system.lets_in(rotated.fields())
    ring.turn.clear()
    rotated.recover()
    assert rotated.journal.step is Step.IDLE
    assert rotated.system.orphans(rotated.fields()) == set()


@pytest.mark.parametrize("document", [None, [], {}, {"key": 7}, {"key": "", "data": {"id": "x"}}, {"key": "k"}])
def test_an_answer_without_a_key_is_told_and_what_was_made_is_revoked(rotated, ring, document):
    def wrong(handler, body):
        ring.make(body["name"])
        handler.say(201, document)

    ring.turn["POST", "keys"] = wrong
    with pytest.raises(SystemRefusedError, match="the answer to create is not as expected: there is no"):
        rotated.rotate()
    ring.turn.clear()
    rotated.rotate(finish_only=True)
    assert len(ring.keys) == 1


def test_a_key_that_is_gone_already_is_as_good_as_revoked(rotated, ring):
    rotated.rotate()
    ring.turn["DELETE", "keys"] = lambda handler, _: handler.say(404, {})
    assert rotated.rotate() is Outcome.ROTATED


def test_what_is_missing_in_the_admins_secret_is_told_before_anything_begins(rotated, ring):
    rotated.put("admin/example", token="x")
    with pytest.raises(LesseeError, match="the recipe wants api_key of the admin's secret; write it there"):
        rotated.rotate()
    assert ring.requests == []


def test_what_is_missing_in_the_secret_is_told_by_its_placeholder(rotated):
    rotated.put(rotated.secret_path, api_key="the-old-key-of-all")
    with pytest.raises(
        SystemRefusedError, match=r"create: there is no \{secret\.base_url\}; see the recipe, the secret"
    ):
        rotated.rotate()


def test_a_list_that_does_not_end_is_left(rotated, ring, monkeypatch):
    monkeypatch.setattr("lessee.ops.rotate.recipe_client._MOST_PAGES", 3)
    for number in range(20):
        ring.make(f"n{number}")
    with pytest.raises(SystemRefusedError, match="the list has more than 3 pages"):
        rotated.rotate()


def test_no_key_goes_through_the_clear_network_unless_the_recipe_says_so(monkeypatch):
    def never(*_, **__):
        raise AssertionError("it was sent")

    monkeypatch.setattr("lessee.host.http_client.request", never)
    with pytest.raises(
        SystemRefusedError, match=r"http://192\.0\.2\.1: the key would cross the network without TLS; write https"
    ):
        Client(insecure=False).ask("GET", "http://192.0.2.1/keys/the-key", {}, None, timeout=1)
    with pytest.raises(AssertionError, match="it was sent"):
        Client(insecure=True).ask("GET", "http://192.0.2.1/keys", {}, None, timeout=1)


def test_a_redirect_is_not_followed(ring):
    elsewhere = Keyring()
    try:
        ring.turn["GET", "me"] = lambda handler, _: handler.say(302, {}, [("Location", f"{elsewhere.url}/me")])
        answer = Client(insecure=False).ask("GET", f"{ring.url}/me", {"Authorization": "Bearer x"}, None, timeout=5)
        assert answer.status == 302
        assert elsewhere.requests == []
    finally:
        elsewhere.close()


def test_a_certificate_of_nobody_is_refused(tmp_path, monkeypatch):
    authority = Authority(tmp_path / "ca.pem")
    authority.issue(tmp_path / "pair.pem", 1)
    ring = Keyring(pair=tmp_path / "pair.pem")
    try:
        with pytest.raises(
            SystemUnavailableError,
            match="provider unavailable: the server's certificate is not trusted: unable to get local issuer certificate",
        ):
            Client(insecure=True).ask("GET", f"{ring.url}/me", {}, None, timeout=5)
        assert ring.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert Client(insecure=False).ask("GET", f"{ring.url}/me", {}, None, timeout=5).status == 401
    finally:
        ring.close()


def test_an_answer_without_end_or_drop_by_drop_is_left(ring):
    def endless(handler, _):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    over = threading.Event()

    def slow(handler, _):
        handler.send_response(200)
        handler.end_headers()
        while not over.wait(0.05):
            handler.wfile.write(b"x")

    for turn, timeout, why in (
        (endless, 10, "the response is larger than 1048576 bytes"),
        (slow, 0.5, "no response within 0.5 s"),
    ):
        ring.turn["GET", "me"] = turn
        with pytest.raises(SystemUnavailableError, match=why):
            Client(insecure=False).ask("GET", f"{ring.url}/me", {}, None, timeout=timeout)
    over.set()


def test_nobody_there_is_told(ring):
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
def test_what_no_request_can_hold_is_not_quoted(url, headers):
    with pytest.raises(
        SystemRefusedError, match="the URL is invalid|the URL has no valid host|a header holds a character"
    ) as caught:
        Client(insecure=True).ask("GET", url, headers, None, timeout=1)
    assert "the-key" not in str(caught.value)


def test_no_log_and_no_error_holds_a_key(rotated, ring, caplog):
    """Not even where the provider repeats in its answers what it was sent."""
    caplog.set_level("DEBUG", logger="lessee")
    seen, errors = {ring.admin, rotated.fields()["api_key"]}, []
    for method, what in (("POST", "keys"), ("GET", "keys"), ("GET", "me"), ("DELETE", "keys")):
        ring.turn[method, what] = 418
        with pytest.raises(SystemRefusedError) as caught:
            rotated.rotate()
        errors.append(repr(caught.value))
        seen |= {one["key"] for one in ring.keys.values()}
        ring.turn.clear()
        rotated.rotate()
        seen |= {one["key"] for one in ring.keys.values()}
    told = "\n".join([*errors, *(f"{one.getMessage()} {getattr(one, 'fields', {})}" for one in caplog.records)])
    assert "status 418" in told
    assert [key for key in seen if key in told] == []


def test_without_the_library_it_is_told_what_to_install(rotated, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonpath", None)
    with pytest.raises(
        LesseeError, match=r"the library jsonpath is missing; install it: pip install 'lessee\[rotate\]'"
    ):
        rotated.rotate()


README = ROOT / "templates/rotation/README.md"


def test_what_the_readme_shows_can_be_read(tmp_path):
    shown = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    rotation = [text for text in shown if text.startswith("rotation:")]
    assert len(rotation) == 3
    for text in rotation:
        (tmp_path / "lessee.yaml").write_text(f"environment: testing\n{text}")
        assert read(tmp_path / "lessee.yaml", {}, blocks=("rotation",)).rotation
    [recipe] = set(shown) - set(rotation)
    (tmp_path / "internal.yaml").write_text(recipe)
    assert list(recipes.load("./internal.yaml", tmp_path, whole=True).requests) == [
        *("create", "list", "prove", "disable", "revoke"),
    ]


@pytest.mark.parametrize("content", [b"\xff", b""])
def test_a_recipe_that_is_none_is_told_by_its_file(tmp_path, content):
    (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        recipes.load("./own.yaml", tmp_path, whole=True)
