"""Which apps read a secret, and how far they are with a version of it."""

import pytest

from lessee.core.immutable import replace
from lessee.core.paths import DynamicSecret, Folder, Input, Ref
from lessee.ops.edit.policy.readers import Progress, progress, readers

REF = Ref("secret", "testing/db/main")
PATH = str(REF)


@pytest.mark.parametrize(
    ("need", "is_read"),
    [
        (REF, True),
        (Ref("secret", "testing/db/main", 3), False),
        (Ref("secret", "testing/db/other"), False),
        (Ref("other", "testing/db/main"), False),
        (Ref("secret", "testing/db/main", None, "team-b"), False),
        (Folder("secret", "testing/db/"), True),
        (Folder("secret", "testing/"), False),
        (DynamicSecret("transit/encrypt/k", inputs=(Input("plaintext", REF, ("a",)),)), True),
        (DynamicSecret("database/creds/web"), False),
    ],
)
def test_an_app_reads_what_a_template_needs(need, is_read):
    assert readers({"web": [Ref("secret", "x"), need], "idle": []}, REF) == (("web",) if is_read else ())


def app(
    version=2, *, state="published", path=PATH, secret_error=None, pending=False, error=None, notify=None, ready=None
):
    return {
        "generation": 4,
        "state": state,
        "pending": pending,
        "error": error,
        "secrets": [
            {"path": "secret/other", "version": None, "error": None},
            {"path": path, "version": version, "error": secret_error},
        ],
        "notify": {"pending": notify is not None, "error": notify},
        "readiness": None if ready is None else {"pending": state == "published", "error": ready},
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (app(), Progress(done=True, generation=4)),
        (app(3, state="notified"), Progress(done=True, generation=4)),
        (app(state="ready", ready=""), Progress(done=True, generation=4)),
        (app(1), Progress(done=False, generation=4)),
        (app(None, secret_error="denied"), Progress(done=False, error="denied", generation=4)),
        (app(pending=True), Progress(done=False, generation=4)),
        (app(pending=True, error="disk full"), Progress(done=False, error="disk full", generation=4)),
        (app(notify="no such process"), Progress(done=False, error="no such process", generation=4)),
        (app(ready="refused"), Progress(done=False, error="refused", generation=4)),
        (app(state="waiting"), Progress(done=False, generation=4)),
        (
            app(state="rejected", error="line 3: not valid"),
            Progress(done=False, failed=True, error="line 3: not valid", generation=4),
        ),
        (
            app(state="rolled_back", ready="the probe failed"),
            Progress(done=False, failed=True, error="the probe failed", generation=4),
        ),
        (app(state="rolled_back"), Progress(done=False, failed=True, error="rolled_back", generation=4)),
        # Of an earlier version.
        (
            app(1, state="rejected", error="line 3: not valid"),
            Progress(done=False, error="line 3: not valid", generation=4),
        ),
    ],
)
def test_an_app_is_done_when_it_works_with_the_version(found, expected):
    expected = replace(expected, state=found["state"])
    for known in (None, ["web"]):
        assert progress({"web": found}, PATH, 2, known) == {"web": expected}


@pytest.mark.parametrize("known", [None, ["web"]])
def test_the_same_path_at_another_server_is_not_waited_for(known):
    """An identity's path begins with its name; an app with a server of its own is not among those that read it."""
    apps = {"web": app(1, path=f"team:{PATH}"), "idle": app(1, path="secret/other")}
    assert progress(apps, PATH, 2, known) == {}
    assert progress({"elsewhere": app(1)}, PATH, 2, ["web"]) == {}
