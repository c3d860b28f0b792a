from lessee.core.errors import DeniedError, VaultUnreachableError
from lessee.core.failures import Kind


def test_an_error_with_another_text_keeps_its_kind_and_what_is_not_replaced():
    error = DeniedError("no token", where="secret/data/a", todo="log in", rule="r", kind=Kind.RATE_LIMITED)
    other = error.replace(where="secret/data/b")
    assert type(other) is DeniedError
    assert (other.what, other.where, other.todo, other.rule) == ("no token", "secret/data/b", "log in", "r")
    assert other.kind is Kind.RATE_LIMITED
    assert str(error.replace(what="denied", todo="")) == "secret/data/a: denied"


def test_an_unreachable_server_is_of_the_kind_unavailable():
    assert VaultUnreachableError("no answer").kind is Kind.UNAVAILABLE
