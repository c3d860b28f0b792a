"""What earlier runs have adopted, together with what a later run finds."""

from lessee.ops.adopt.policy.merge import Adopted, merged
from lessee.ops.adopt.policy.model import Image, Part, Project, Rendered, Service, StoredField, Use, text_of
from lessee.ops.scan.policy.classifier import Verdict


def project(*names):
    return Project("shop", "/shop", ("compose.yaml",), {name: Service(name, Image("i")) for name in names}, ())


def adopted(service, name, value, path="database/postgres", field="password"):
    """One secret of a service."""
    return Adopted(
        (Use(service, name, value, (), Verdict.SECRET),),
        (StoredField(path, field, value, ((service, name),)),),
        (Rendered(service, name, (Part(path=path, field=field),)),),
    )


NOTHING = Adopted((), (), ())


def test_a_first_run_has_what_it_finds():
    found = adopted("api", "PASSWORD", "one")
    assert merged(project("api"), found, NOTHING) == found


def test_what_was_adopted_stays_with_the_value_that_vault_has():
    earlier = adopted("api", "PASSWORD", "")
    earlier = Adopted(
        earlier.uses, (StoredField("database/postgres", "password", "new", (("api", "PASSWORD"),)),), earlier.rendered
    )
    both = merged(project("api"), adopted("api", "KEY", "k", "api-keys/a", "api_key"), earlier)
    assert [(use.name, use.value) for use in both.uses] == [("KEY", "k"), ("PASSWORD", "new")]
    assert [(field.path, field.value) for field in both.stored] == [("database/postgres", "new"), ("api-keys/a", "k")]
    assert [one.name for one in both.rendered] == ["PASSWORD", "KEY"]


def test_plaintext_that_is_there_again_takes_the_place_of_what_was_adopted():
    both = merged(project("api"), adopted("api", "PASSWORD", "one"), adopted("api", "PASSWORD", "one"))
    assert both == adopted("api", "PASSWORD", "one")


def test_a_service_or_a_value_that_is_gone_is_dropped():
    assert merged(project("web"), NOTHING, adopted("api", "PASSWORD", "one")) == NOTHING
    lost = adopted("api", "PASSWORD", "one")
    assert merged(project("api"), NOTHING, Adopted(lost.uses, (), lost.rendered)) == NOTHING
    # A person wrote a plain value in its place.
    plain = Adopted((Use("api", "PASSWORD", "", ()),), (), ())
    assert merged(project("api"), plain, adopted("api", "PASSWORD", "one")) == plain


def test_an_equal_value_is_one_field_of_both():
    both = merged(project("api", "web"), adopted("web", "PASSWORD", "one"), adopted("api", "PASSWORD", "one"))
    [field] = both.stored
    assert field.uses == (("api", "PASSWORD"), ("web", "PASSWORD"))


def test_another_value_gets_a_place_of_its_own():
    both = merged(project("api", "web"), adopted("web", "PASSWORD", "two"), adopted("api", "PASSWORD", "one"))
    assert [(field.path, field.value) for field in both.stored] == [
        ("database/postgres", "one"),
        ("database/postgres-web", "two"),
    ]
    assert both.rendered[1].parts == (Part(path="database/postgres-web", field="password"),)


def test_a_text_is_made_of_its_parts():
    parts = (Part("a://"), Part(path="p", field="f", is_url_part=True), Part(":"), Part(path="p", field="f"))
    assert text_of(parts, {("p", "f"): "x@y"}) == "a://x%40y:x@y"
