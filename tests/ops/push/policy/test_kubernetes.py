"""What a push writes into a Secret of Kubernetes, and what it refuses."""

from base64 import b64encode

import kubernetes_validate
import pytest
from msgspec import json

from lessee.core.errors import DeniedError, ManuallyChangedError, NotNotifiedError, UsageError
from lessee.ops.push.policy import kubernetes
from lessee.ops.push.policy.kubernetes import Metadata, Place, Secret, Workload

TO = Place("shop", "web")
LABELS = {"app.kubernetes.io/managed-by": "lessee"}
ANNOTATIONS = {"lessee/app": "web", "lessee/updated-at": "before"}
OLD, NEW = {"a": "b2xk"}, {"a": "bmV3", "b": "bmV3"}
VERSIONS = ("1.29", "1.33", kubernetes_validate.latest_version())


def secret(data=OLD, *, labels=LABELS, annotations=ANNOTATIONS, **more):
    return Secret(Metadata("7", labels, annotations), data=data, **more)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("type_", [None, "kubernetes.io/tls"])
def test_a_new_secret_matches_the_schema_of_kubernetes(version, type_):
    data = kubernetes.encoded({"tls.key": b"\xff", "tls.crt": b""}, type_)
    created = kubernetes.created(TO, "web", type_, data, "2026-01-02T03:04:05.678901+00:00")
    kubernetes_validate.validate(created, version, strict=True)
    assert created["data"] == {"tls.crt": "", "tls.key": b64encode(b"\xff").decode()}
    assert created["type"] == (type_ or "Opaque")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("type_", kubernetes.TYPES)
def test_each_type_has_the_keys_that_it_needs(version, type_):
    needed = dict.fromkeys(kubernetes.TYPES[type_], b"x")
    created = kubernetes.created(TO, "web", type_, kubernetes.encoded(needed, type_), "now")
    kubernetes_validate.validate(created, version, strict=True)
    for key in needed:
        with pytest.raises(UsageError, match="needs the key"):
            kubernetes.encoded({name: b"x" for name in needed if name != key}, type_)


def test_a_type_whose_secrets_kubernetes_fills_itself_is_refused():
    with pytest.raises(UsageError, match="lessee writes no Secret of this type"):
        kubernetes.encoded({"a": b"x"}, "kubernetes.io/service-account-token")


def test_a_patch_has_what_differs_and_the_version_that_was_read():
    written = {"resourceVersion": "7", "annotations": {"lessee/app": "web", "lessee/updated-at": "now"}}
    found = secret({"a": "bmV3", "b": "b2xk", "gone": "eA=="})
    patch = kubernetes.change(found, TO, "web", None, NEW, "now")
    assert patch == {"metadata": written, "data": {"gone": None, "b": "bmV3"}}
    assert kubernetes.change(secret(None), TO, "web", "Opaque", NEW, "now") == {"metadata": written, "data": NEW}


def test_a_secret_with_the_same_values_is_not_written_once_lessee_has_noted_them():
    assert kubernetes.change(secret(OLD), TO, "web", None, OLD, "now") is None
    for annotations in None, {"lessee/app": "web"}, {"lessee/updated-at": "before"}:
        patch = kubernetes.change(secret(OLD, annotations=annotations), TO, "web", None, OLD, "now")
        assert patch["data"] == {}


@pytest.mark.parametrize(
    ("found", "type_", "expected"),
    [
        (secret(labels=None), None, "it has no label app.kubernetes.io/managed-by: lessee"),
        (secret(labels={"app.kubernetes.io/managed-by": "Helm"}), None, "it has no label"),
        (secret(annotations={"lessee/app": "other"}), None, "it has the files of another app"),
        (secret(immutable=True), None, "it is immutable"),
        (secret(), "kubernetes.io/tls", "it has the type 'Opaque'"),
        (secret(type="kubernetes.io/service-account-token"), None, "kubernetes.io/service-account-token"),
        (secret(type="x" * 1000), None, f"'{'x' * 80}'"),
    ],
)
def test_a_secret_that_is_not_lessees_is_refused(found, type_, expected):
    with pytest.raises(ManuallyChangedError) as caught:
        kubernetes.change(found, TO, "web", type_, NEW, "now")
    assert expected in caught.value.what
    assert "left unchanged" in caught.value.what


def test_an_existing_secret_needs_the_keys_of_its_type():
    with pytest.raises(UsageError, match=r"needs the key tls\.crt"):
        kubernetes.change(secret(type="kubernetes.io/tls"), TO, "web", None, NEW, "now")


@pytest.mark.parametrize(
    ("template", "is_restarted"),
    [
        ({}, True),
        ({"metadata": {}}, True),
        ({"metadata": {"annotations": {"web.lessee/updated-at": "before"}}}, True),
        ({"metadata": {"annotations": {"other.lessee/updated-at": "now"}}}, True),
        ({"metadata": {"annotations": {"web.lessee/updated-at": "now"}}}, False),
    ],
)
def test_pods_are_replaced_unless_they_were_since_the_secret_changed(template, is_restarted):
    found = kubernetes.parse_workload(json.encode({"spec": {"template": template}}))
    patch = kubernetes.restart(found, "web", "now")
    annotations = {"annotations": {"web.lessee/updated-at": "now"}}
    assert patch == ({"spec": {"template": {"metadata": annotations}}} if is_restarted else None)


def test_keys_are_the_names_of_files_or_those_that_are_named():
    assert kubernetes.selected(["a", "tls.crt=tls/cert", "b=c=d"]) == {"a": "a", "tls.crt": "tls/cert", "b": "c=d"}
    for valid in ".dockerconfigjson", "-", "_", "a..b", "A" * 253:
        assert kubernetes.keys([(valid, "file")]) == {valid: "file"}


@pytest.mark.parametrize("key", ["", ".", "..", "..data", "a/b", "a b", "ä", "a\n", "A" * 254])
def test_a_key_that_kubernetes_does_not_accept_is_refused(key):
    with pytest.raises(UsageError, match="cannot have the key"):
        kubernetes.keys([(key, "file")])


def test_a_key_with_two_files_is_refused():
    with pytest.raises(UsageError, match="the key a has two files"):
        kubernetes.selected(["a", "a=b"])


def test_values_of_a_mebibyte_are_accepted_and_one_byte_more_is_not():
    assert kubernetes.encoded({"a": b"x" * kubernetes.MAX_SIZE}, None)
    with pytest.raises(UsageError, match="1048577 bytes, and a Secret of Kubernetes at most 1048576"):
        kubernetes.encoded({"a": b"x" * kubernetes.MAX_SIZE, "b": b"x"}, None)


def test_names_make_the_paths_of_the_api():
    to = kubernetes.place("shop", "web.tls")
    assert to.path == "/api/v1/namespaces/shop/secrets/web.tls"
    assert (to.collection, to.title) == ("/api/v1/namespaces/shop/secrets", "secret/web.tls")
    assert Workload("daemonset", "a").path("shop") == "/apis/apps/v1/namespaces/shop/daemonsets/a"
    assert kubernetes.workload("statefulset/db").title == "statefulset/db"


@pytest.mark.parametrize("name", ["", "..", "../pods", "a/b", "a?b", "A", "-a", "a-", "a..b", "a\n", "%2e", "a" * 241])
def test_a_name_that_would_lead_elsewhere_is_refused(name):
    for make in (
        lambda: kubernetes.place(name, "web"),
        lambda: kubernetes.place("shop", name),
        lambda: kubernetes.workload(f"deployment/{name}"),
    ):
        with pytest.raises(UsageError):
            make()


@pytest.mark.parametrize("text", ["api", "pod/api", "deployments/api", "/api"])
def test_only_workloads_with_a_rollout_are_restarted(text):
    with pytest.raises(UsageError, match="this names no workload"):
        kubernetes.workload(text)


def test_the_server_has_tls_and_no_credentials():
    assert kubernetes.server_url("https://a:6443/") == "https://a:6443"
    assert kubernetes.server_url("https://[::1]/k8s/clusters/c") == "https://[::1]/k8s/clusters/c"
    for url in "http://a", "https://", "a:6443", "https://u:p@a", "https://a?x", "https://a#x", "https://[a":
        with pytest.raises(UsageError, match="this is no address"):
            kubernetes.server_url(url)


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (401, DeniedError, "does not accept the token: HTTP 401 Invalid"),
        (403, DeniedError, "it is forbidden: HTTP 403 Invalid"),
        (404, UsageError, "it failed: there is no such object"),
        (409, NotNotifiedError, "it failed: others change the object at the same time"),
        (410, NotNotifiedError, "others change"),
        (422, NotNotifiedError, "rejects it: HTTP 422 Invalid"),
        (500, NotNotifiedError, "it failed: HTTP 500 Invalid"),
    ],
)
def test_an_error_repeats_nothing_that_the_api_says_except_for_its_reason(status, kind, expected):
    body = json.encode({"kind": "Status", "reason": "Invalid", "message": "canary"})
    error = kubernetes.refusal(status, body, doing="it", where="secret/web")
    assert type(error) is kind
    assert expected in error.what
    assert "canary" not in str(error)


@pytest.mark.parametrize("body", [b"", b"canary", b"[]", b'{"reason": "can ary"}', b'{"reason": 1}', b"{}"])
def test_an_answer_of_another_program_is_an_error_without_its_text(body):
    assert "HTTP 500;" in str(kubernetes.refusal(500, body, doing="it", where=""))
    for parse in kubernetes.parse_secret, kubernetes.parse_workload:
        with pytest.raises(NotNotifiedError, match="not one of the API of Kubernetes") as caught:
            parse(body)
        assert caught.value.__cause__ is None


def test_a_secret_of_the_api_is_parsed_and_hides_its_values():
    body = json.encode({"kind": "Secret", "metadata": {"resourceVersion": "7", "x": 1}, "data": {"a": "Y2FuYXJ5"}})
    found = kubernetes.parse_secret(body)
    assert found == secret({"a": "Y2FuYXJ5"}, labels=None, annotations=None)
    assert "Y2FuYXJ5" not in repr(found)
