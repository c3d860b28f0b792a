"""All fixes are applied until none is left, and none is tried without end."""

from lessee.core.immutable import replace
from lessee.ops.lint.policy.findings import Finding
from lessee.ops.lint.policy.fixes.model import Fix, Merge, SetScalar
from lessee.ops.lint.policy.fixes.session import fix_all, lines_to_add

FINDING = Finding("no-agent", "error", "first", fix=Fix("", (Merge("f", {"k": "1"}),)))


def test_a_fix_can_uncover_another_finding():
    second = replace(FINDING, message="second", fix=Fix("", (Merge("f", {"z": "2"}),)))

    def check(texts):
        text = texts.get("f", "a: b\n")
        return [FINDING] if "k:" not in text else [second] if "z:" not in text else []

    session = fix_all(check, {"f": "a: b\n"}.__getitem__)
    assert session.texts == {"f": 'a: b\nk: "1"\nz: "2"\n'}
    assert session.fixed == (FINDING, second)
    assert (session.remaining, session.refused) == ((), {})
    assert "a: b" not in repr(session)


def test_a_fix_without_effect_is_refused_and_another_one_goes_on():
    other = replace(FINDING, message="other", fix=Fix("", (SetScalar("f", ("x",), "a", "b"),)))
    session = fix_all(
        lambda _: [FINDING, other, replace(FINDING, message="none", fix=None)], {"f": "a: b\n"}.__getitem__
    )
    assert session.refused == {"other": "it is not written there", "first": "it has no effect"}
    assert len(session.remaining) == 3


def test_endless_findings_end():
    def check(texts):
        count = len(texts.get("f", ""))
        return [replace(FINDING, message=str(count), fix=Fix("", (Merge("f", {f"k{count}": "1"}),)))]

    assert len(fix_all(check, {"f": "a: b\n"}.__getitem__).fixed) == 12
    counts = iter(range(100))
    assert len(lines_to_add(lambda _: [replace(FINDING, lines={f"k{next(counts)}": "x"})])) == 12
