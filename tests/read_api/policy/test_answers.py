"""What a read socket answers, from values that a test gives it."""

import json
from dataclasses import dataclass, field

import pytest

from lessee.core.path_scope import MountScope, PathScope
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.read_api.policy.answers import ReadScope, answer, patience, waits
from lessee.read_api.policy.requests import Request
from lessee.read_api.policy.values import Issued, Published

FILES = PathScope("files::", identity="files")
SCOPE = PathScope("secret", prefix="production/", mounts={"old": MountScope("", ())}, sources={"files": FILES})
READ_SCOPE = ReadScope("web", SCOPE, "", "9.9")
DB, GONE, NEW = Ref("secret", "production/db"), Ref("secret", "production/gone"), Ref("secret", "production/new")
FILE, NO_FILE, UNREAD_FILE = (Ref("files::", name, None, "files") for name in ("db", "none", "new"))
FIRST = Ref("secret", "production/db", 1)
KEYS, EMPTY, UNREAD = (Folder("secret", f"production/{name}/") for name in ("keys", "empty", "unread"))
OLD, TEAM = Ref("old", "key"), Ref("team-a/kv", "key")
ROLE, ENDED = DynamicSecret("database/creds/web"), DynamicSecret("database/creds/ended")
CREATED = "2026-11-30T10:00:00Z"


GENERATION = Published(3, "3-abc", {"app.env": b"A=1\n"})


@dataclass
class Known:
    """What an agent has."""

    published: Published | None = GENERATION
    versions: dict[str, int] = field(default_factory=lambda: {"secret": 2, "old": 1, "team-a/kv": 1, "new": 0})
    secrets: dict[Ref, Secret | None] = field(
        default_factory=lambda: {
            DB: Secret({"password": "hunter2", "port": 5432, "tls": {"ca": "x"}}, VersionMetadata(2, CREATED)),
            FIRST: Secret({"password": "hunter1"}, VersionMetadata(1, CREATED, "destroyed")),
            GONE: None,
            NEW: None,
            OLD: Secret({"key": "of one"}),
            FILE: Secret({"password": "hunter3"}),
            NO_FILE: None,
            UNREAD_FILE: None,
            TEAM: Secret({"key": "of a team"}),
        }
    )
    folders: dict[Folder, list[str] | None] = field(
        default_factory=lambda: {KEYS: ["mail", "db"], EMPTY: [], UNREAD: None, Folder("old", ""): ["key"]}
    )
    credentials: dict[DynamicSecret, Issued | None] = field(
        default_factory=lambda: {ROLE: Issued(Secret({"username": "u"}), 59.9), ENDED: None}
    )

    @property
    def mounts(self):
        return self.versions.keys()

    def kv_version(self, mount):
        return self.versions[mount]

    def reads(self, need):
        return need in self.secrets or need in self.folders

    def secret(self, ref):
        return self.secrets[ref]

    def is_missing(self, ref):
        return ref in {GONE, NO_FILE}

    def names(self, folder):
        return self.folders[folder]

    def dynamic(self, path):
        return next((need for need in self.credentials if need.path == path), None)

    def issued(self, need):
        return self.credentials[need]


def ask(target, method="GET", *, values=None, scope=READ_SCOPE, **headers):
    path, _, query = target.partition("?")
    asked = dict(each.split("=") for each in query.split("&")) if query else {}
    request = Request(method, path, asked, {name.replace("_", "-"): value for name, value in headers.items()})
    return answer(request, scope, values or Known())


def body(reply):
    return json.loads(reply.body)


# -- files


def test_files_are_those_of_the_published_generation():
    assert ask("/files/app.env").body == b"A=1\n"
    assert body(ask("/files")) == {"generation": 3, "files": {"app.env": "A=1\n"}}
    assert body(ask("/generation")) == {"generation": 3, "files": ["app.env"]}
    assert ("ETag", '"3-abc"') in ask("/files/app.env").headers
    assert ask("/files/app.env", if_none_match='"3-abc"').code == 304
    assert ask("/files/other").code == 404
    assert b"app.env" in ask("/files/other").body


def test_a_file_that_is_no_text_is_read_by_itself():
    values = Known(published=Published(1, "1-a", {"key.bin": b"\xff"}))
    assert ask("/files", values=values).code == 406
    assert ask("/files/key.bin", values=values).body == b"\xff"


@pytest.mark.parametrize("target", ["/files", "/files/app.env", "/generation"])
def test_before_the_first_generation_a_client_is_asked_to_try_again(target):
    reply = ask(target, values=Known(published=None))
    assert (reply.code, reply.headers) == (503, (("Retry-After", "1"),))


def test_other_paths_and_methods_are_named():
    assert ask("/healthz").body == b"ok\n"
    assert ask("/").code == 404
    assert b"/secret/PATH" in ask("/unknown").body
    assert ask("/files/app.env", "DELETE").code == 405


@pytest.mark.parametrize(
    ("target", "header", "published", "expected"),
    [
        ("/generation?wait=5", '"3-abc"', True, True),
        ("/generation?wait=5", '"2-abc"', True, False),
        ("/generation?wait=5", "", False, True),
        ("/generation", '"3-abc"', True, False),
        ("/files?wait=5", '"3-abc"', True, False),
    ],
)
def test_only_who_knows_the_generation_and_asks_for_it_waits_for_the_next(target, header, published, expected):
    path, _, query = target.partition("?")
    request = Request("GET", path, dict([query.split("=")]) if query else {}, {"if-none-match": header})
    assert waits(request, Known() if published else Known(published=None)) is expected


@pytest.mark.parametrize(("text", "seconds"), [("5", 5.0), ("5s", 5.0), ("900", 60.0), ("x", 60.0), ("", 60.0)])
def test_a_client_waits_no_longer_than_it_may(text, seconds):
    assert patience(Request("GET", "/generation", {"wait": text}), 60.0) == seconds


# -- secrets by their names in templates


@pytest.mark.parametrize(
    ("target", "code", "text"),
    [
        ("/secret/db?key=password", 200, "hunter2"),
        ("/secret/db?key=port", 200, "5432"),
        ("/secret/db?version=1&key=password", 200, "hunter1"),
        ("/secret/old", 403, ""),
        ("/secret/key?mount=old&key=key", 200, "of one"),
        ("/secret/db?key=other", 404, "no such key"),
        ("/secret/gone", 404, "does not exist"),
        ("/secret/new", 503, "not been read"),
        ("/secret/db?source=files&key=password", 200, "hunter3"),
        ("/secret/none?source=files", 404, "files::none does not exist in the source"),
        ("/secret/new?source=files", 503, "has not been read from the source yet"),
        ("/secret/other?source=files", 403, "no template of web reads files::other"),
        ("/secret/db?source=other", 403, "no source is named"),
        ("/secret/db?version=x", 400, "not a number"),
        ("/secret/db?mount=unknown", 403, "no KV mount"),
        ("/secret/production/db", 403, "prefix"),
    ],
)
def test_a_secret_has_the_name_that_templates_give_it(target, code, text):
    reply = ask(target)
    assert reply.code == code
    assert text in reply.body.decode()


def test_a_whole_secret_is_a_json_object():
    assert body(ask("/secret/db")) == {"password": "hunter2", "port": 5432, "tls": {"ca": "x"}}


# -- Vault's API


def test_a_secret_with_versions_is_answered_as_vault_does():
    found = body(ask("/v1/secret/data/production/db"))
    assert found["data"]["data"]["password"] == "hunter2"
    metadata = {"created_time": CREATED, "custom_metadata": None, "deletion_time": "", "destroyed": False, "version": 2}
    assert found["data"]["metadata"] == metadata
    assert (found["lease_id"], found["renewable"], found["auth"]) == ("", False, None)


@pytest.mark.parametrize(
    ("target", "password"),
    [("?version=2", "hunter2"), ("?version=0", "hunter2"), ("?version=1", "hunter1"), ("", "hunter2")],
)
def test_a_version_is_read_if_it_is_the_latest_or_a_template_names_it(target, password):
    assert body(ask(f"/v1/secret/data/production/db{target}"))["data"]["data"]["password"] == password


def test_a_destroyed_version_says_so():
    assert body(ask("/v1/secret/data/production/db?version=1"))["data"]["metadata"]["destroyed"] is True


def test_the_structure_and_the_metadata_of_a_secret_are_read_too():
    keys = body(ask("/v1/secret/subkeys/production/db"))["data"]["subkeys"]
    assert keys == {"password": None, "port": None, "tls": {"ca": None}}
    found = body(ask("/v1/secret/metadata/production/db"))
    assert (found["data"]["current_version"], list(found["data"]["versions"])) == (2, ["2"])
    assert found["warnings"] == ["lessee knows only this version"]


def test_a_secret_without_versions_and_one_of_a_namespace():
    assert body(ask("/v1/old/key"))["data"] == {"key": "of one"}
    assert body(ask("/v1/kv/key", x_vault_namespace="team-a"))["data"] == {"key": "of a team"}
    inner = ReadScope("web", SCOPE, "root-ns", "9.9")
    assert body(ask("/v1/kv/key", x_vault_namespace="root-ns/team-a/", scope=inner))["data"] == {"key": "of a team"}
    assert body(ask("/v1/old/key", x_vault_namespace="root-ns", scope=inner))["data"] == {"key": "of one"}


@pytest.mark.parametrize(("target", "method"), [("?list=true", "GET"), ("", "LIST")])
def test_a_folder_that_a_template_reads_is_listed(target, method):
    assert body(ask(f"/v1/secret/metadata/production/keys/{target}", method))["data"] == {"keys": ["db", "mail"]}
    assert body(ask(f"/v1/old/{target}", method))["data"] == {"keys": ["key"]}


@pytest.mark.parametrize(
    ("target", "method", "code", "text"),
    [
        ("secret/data/production/other", "GET", 403, "no template of web reads secret/production/other"),
        ("secret/data/production/db?version=7", "GET", 403, "in version 7"),
        ("secret/data/production/db?version=x", "GET", 403, "in version x"),
        ("secret/data/production/gone", "GET", 404, ""),
        ("secret/data/production/new?version=1", "GET", 403, ""),
        ("secret/data/production/new", "GET", 503, "not read it"),
        ("secret/metadata/production", "LIST", 403, ""),
        ("secret/metadata/production/empty", "LIST", 404, ""),
        ("secret/metadata/production/unread", "LIST", 503, ""),
        ("secret/data/production/keys", "LIST", 403, ""),
        ("secret/config", "GET", 403, ""),
        ("secret/data", "GET", 403, ""),
        ("old/other", "GET", 403, ""),
        ("old/none", "LIST", 403, ""),
        ("new/data/x", "GET", 503, ""),
        ("database/creds/other", "GET", 403, ""),
        ("database/creds/ended", "GET", 503, ""),
        ("database/creds", "LIST", 403, ""),
        ("secret/data/production/db", "POST", 405, "lessee only reads"),
        ("sys/internal/ui/mounts/other/x", "GET", 403, ""),
        ("sys/internal/ui/mounts/new/x", "GET", 503, ""),
    ],
)
def test_what_no_template_reads_is_refused_with_the_reason(target, method, code, text):
    reply = ask(f"/v1/{target}", method)
    assert reply.code == code
    errors = body(reply)["errors"]
    assert errors == [] if code == 404 else text in errors[0]


def test_a_credential_has_no_id_with_which_a_client_could_end_it():
    found = body(ask("/v1/database/creds/web"))
    assert (found["data"], found["lease_id"], found["lease_duration"]) == ({"username": "u"}, "", 59)
    endless = Known(credentials={ROLE: Issued(Secret({"username": "u"}), None)})
    assert body(ask("/v1/database/creds/web", values=endless))["lease_duration"] == 0


def test_clients_ask_first_for_health_the_token_and_the_mount():
    assert body(ask("/v1/sys/health"))["version"] == "lessee 9.9"
    assert body(ask("/v1/sys/seal-status"))["sealed"] is False
    assert body(ask("/v1/auth/token/lookup-self"))["data"]["meta"] == {"served_by": "lessee", "app": "web"}
    assert body(ask("/v1/sys/internal/ui/mounts/secret/production/db"))["data"]["options"] == {"version": "2"}
    inner = body(ask("/v1/sys/internal/ui/mounts/kv/key", x_vault_namespace="team-a"))["data"]
    assert inner == {"path": "kv/", "type": "kv", "options": {"version": "1"}}
