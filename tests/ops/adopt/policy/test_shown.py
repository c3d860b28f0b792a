"""What `docker inspect` shows of a service anyway is known before it starts, and has a step."""

from lessee.ops.adopt.policy.model import (
    AppPlan,
    Delivery,
    Image,
    Project,
    Rendered,
    Service,
    Use,
)
from lessee.ops.adopt.policy.shown import other_texts, shown, shown_steps, words

VALUE = "canary-9Kx2vQ7m"
DATA = {
    "environment": {"A": VALUE},
    "labels": {"a": VALUE},
    "hostname": f"x-{VALUE}",
    "build": {"context": "/p", "args": {"X": VALUE}},
    "healthcheck": {"test": ["CMD", VALUE], "retries": 3},
    "extra_hosts": [f"{VALUE}=1"],
    "networks": {"default": None},
    "logging": {"options": {"tag": "t"}},
}


def project(*uses):
    service = Service("app", Image("x/postgres:17"), other=other_texts(DATA))
    return Project("shop", "/srv/my-shop", ("compose.yaml",), {"app": service}, uses)


def test_the_texts_of_a_service_that_are_no_uses():
    assert other_texts(DATA) == (
        ("hostname", f"x-{VALUE}"),
        ("build.context", "/p"),
        ("build.context", "context"),
        ("healthcheck.retries", "3"),
        ("healthcheck.retries", "retries"),
        ("extra_hosts[0]", f"{VALUE}=1"),
        ("networks.default", "default"),
        ("logging.options.tag", "t"),
        ("logging.options.tag", "tag"),
        ("logging.options", "options"),
    )


def test_a_value_that_stays_is_known_with_its_path():
    uses = Use("app", "labels.a", VALUE, ()), Use("app", "A", VALUE, ()), Use("app", "B", "b", ())
    apps = [AppPlan("app", Delivery.LAUNCHER, (Rendered("app", "A", ()),), 0, None)]
    assert shown(project(*uses), apps, {"a#b": VALUE, "a#c": "another"}) == (
        ("app", "hostname", "a#b"),
        ("app", "extra_hosts[0]", "a#b"),
        ("app", "labels.a", "a#b"),
    )
    assert [(step.where, step.what) for step in shown_steps(project(*uses), {"a#b": VALUE})] == [
        ("app", "hostname of service app has the value of a#b"),
        ("app", "extra_hosts[0] of service app has the value of a#b"),
    ]


def test_names_are_words_that_show_nothing():
    assert words(project()) == {"shop", "srv", "my-shop", "app", "x", "postgres", "17"}


def test_no_text_is_in_a_repr():
    assert VALUE not in repr(project())
