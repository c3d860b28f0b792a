"""Every encoding of a value is hidden, and other text is unchanged."""

import base64
import json
import threading
import tracemalloc
from itertools import count
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lessee.core import redaction
from lessee.core.decoding import decoded_parts
from lessee.core.redaction import LONGEST_ENCODED, MASK, MOST_LINES, SHORTEST, Redactor

SECRET = "p?ss w/rd+ü\"'\\>~"


def redactor(*values, public=""):
    made = Redactor()
    made.allow(public)
    made.learn("a", values)
    return made


FORMS = {
    "raw": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 for URLs without padding": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "URL": lambda text: quote(text, safe=""),
    "URL's path": quote,
    "URL's query": quote_plus,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with letters as they are": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "Python": lambda text: repr(text)[1:-1],
    "hex": lambda text: text.encode().hex(),
    "hex in capitals": lambda text: text.encode().hex().upper(),
    "hex with colons": lambda text: text.encode().hex(":"),
    "hex with blanks": lambda text: text.encode().hex(" "),
    "URL in small letters": lambda text: quote(text, safe="").lower(),
    "URL by encodeURIComponent": lambda text: quote(text, safe="!'()*"),
    "URL by encodeURI": lambda text: quote(text, safe="!'()*;,/?:@&=+$#"),
    "URL with each character encoded": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "base64 in a URL": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
    "capitals": lambda text: text.upper() if len(text.upper()) == len(text) else text,
    "small letters": lambda text: text.lower() if len(text.lower()) == len(text) else text,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_value_is_hidden_in_each_encoding(form):
    text = redactor(SECRET).clean(f"before <{FORMS[form](SECRET)}> after")
    assert text.rstrip("=%3D> after") == f"before <{MASK}"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode], ids=["base64", "base64 for URLs"])
@pytest.mark.parametrize("secret", [SECRET, "hunter2", "correct horse battery staple", "\u00fcmlaut?>~"])
def test_a_value_is_hidden_wherever_it_is_in_what_base64_encodes(secret, encode):
    made = redactor(secret)
    for before in ("", "a", "ab", "user:"):
        for after in ("", "\n", "\n\n", '"}'):
            encoded = encode(f"{before}{secret}{after}".encode()).decode()
            left = made.clean(f"Basic {encoded}.").removeprefix("Basic ").removesuffix(".")
            assert left.count(MASK) == 1
            # What is left encodes no whole byte of the value; the last character has up to four bits of padding.
            head, tail = left.split(MASK)
            assert len(head) * 6 < len(before.encode()) * 8 + 8
            assert len(tail.rstrip("=")) * 6 < len(after.encode()) * 8 + 8 + 4


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=SHORTEST)


@pytest.mark.no_cover
@given(PRINTABLE, st.binary(max_size=5), st.binary(max_size=5), st.sampled_from(["base64", "base64url", "hex", "URL"]))
def test_no_value_gets_through_among_other_bytes_that_were_encoded_with_it(secret, before, after, kind):
    whole = before + secret.encode() + after
    encoded = {
        "base64": base64.b64encode(whole).decode(),
        "base64url": base64.urlsafe_b64encode(whole).decode(),
        "hex": whole.hex(),
        "URL": quote(whole, safe=""),
    }[kind]
    cleaned = redactor(secret).clean(f'{{"line": "{encoded}"}}')
    assert MASK in cleaned
    assert cleaned.startswith('{"line": "')
    assert cleaned.endswith('"}')


@given(st.text(st.sampled_from("%4a0+: xyzZ/=-_\u00fc"), max_size=300))
def test_a_text_s_decoded_parts_are_in_proportion_to_its_length(text):
    parts = list(decoded_parts(text))
    assert sum(len(part.text) for part in parts) <= 14 * len(text) + 64
    for part in parts:
        start, end = part.place(0, len(part.text))
        assert 0 <= start <= end
        assert end - start <= len(text) + 8


def test_a_part_of_hex_that_begins_in_the_middle_of_a_byte_is_hidden():
    made = redactor("hunter2")
    assert made.clean(f"0{b'hunter2'.hex()}") == f"0{MASK}"
    assert made.clean(f"{b'my hunter2 is'.hex()}") == f"{b'my '.hex()}{MASK}{b' is'.hex()}"
    assert made.clean("0123456789abcdef0 12:34:56:78:90:ab") == "0123456789abcdef0 12:34:56:78:90:ab"


def test_a_value_with_blanks_is_hidden_in_a_query_among_other_encoded_characters():
    made = redactor("correct horse", "one+more/value")
    assert made.clean("/?q=%22correct+horse%22&b=1") == f"/?q=%22{MASK}%22&b=1"
    assert made.clean("/?q=%22correct%20horse%22+") == f"/?q=%22{MASK}%22+"
    assert made.clean("/one+more%2Fvalue/%C3%BC%FF") == f"/{MASK}/%C3%BC%FF"


def test_another_case_of_a_value_is_hidden_and_the_rest_keeps_its_own():
    made = redactor("Hunter-Two", "\u0130stanbul-\u03a3", public="The Postgres of database/POSTGRES")
    assert made.clean("It IS HUNTER-TWO, hunter-two") == f"It IS {MASK}, {MASK}"
    assert made.clean("\u0130STANBUL-\u03c3 \u0130") == f"{MASK} \u0130"
    made.learn("b", ["postgres"])
    assert made.clean("POSTGRES") == "POSTGRES"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=SHORTEST), st.sampled_from(sorted(FORMS)))
def test_no_value_gets_through_in_any_encoding(secret, form):
    encoded = FORMS[form](secret)
    assume(encoded not in MASK * 3)
    assert encoded not in redactor(secret).clean(f"<<{encoded}>>")


@pytest.mark.no_cover
@given(st.text(min_size=SHORTEST))
def test_any_string_can_be_learned(secret):
    assume(secret not in MASK * 2)
    assert secret not in redactor(secret).clean(f"x{secret}x")


def test_each_line_of_a_value_is_hidden():
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\r\nkqhkiG9w0BAQ\n-----END KEY-----\n"
    assert redactor(key).clean("got MIIEvQIBADANBg and kqhkiG9w0BAQ") == f"got {MASK} and {MASK}"
    assert redactor(key).clean(f"got {key}.") == f"got {MASK}."


def test_a_large_value_is_hidden_as_a_whole_and_by_its_lines():
    lines = [f"this is line {number:06}" for number in range(MOST_LINES + 10)]
    value = "\n".join(lines)
    assert len(value) > LONGEST_ENCODED
    made = redactor(value)
    assert made.clean(f"<{value}>") == f"<{MASK}>"
    assert made.clean(f"<{lines[0]}> <{lines[MOST_LINES - 1]}>") == f"<{MASK}> <{MASK}>"
    assert made.clean(f"<{base64.b64encode(lines[7].encode()).decode()}>") == f"<{MASK}>"
    # More lines would take more memory than the rest of the agent.
    assert MASK not in made.clean(f"<{lines[MOST_LINES]}>")


@pytest.mark.no_cover
def test_the_cost_of_a_text_does_not_grow_with_the_values_of_one_source(monkeypatch):
    made = redactor(*[f"value-{number:06}-{number * 7919 % 10007:05}" for number in range(10_000)])
    encoded, original = [], redaction.forms

    def forms(text):
        encoded.append(text)
        return original(text)

    monkeypatch.setattr(redaction, "forms", forms)
    assert made.clean("is value-000042-02367.") == f"is {MASK}."
    assert len(encoded) < 100


def test_short_values_are_not_hidden():
    assert redactor("abcd", 1234, True, None).clean("abcd 1234 True None") == "abcd 1234 True None"
    assert redactor("abcde", 12345).clean("abcde 12345") == f"{MASK} {MASK}"


def test_a_short_text_has_no_form():
    assert list(redaction.forms("x" * (SHORTEST - 1))) == []


def test_values_are_found_in_structures():
    made = redactor({"key-name": ["first-value", {"x": ("other-value", 123456, 1.5e-07)}]}, object())
    assert made.clean("key-name first-value other-value 123456 1.5e-07") == f"key-name {MASK} {MASK} {MASK} {MASK}"


def test_words_of_the_configuration_are_not_hidden():
    made = redactor("postgres", "hunter2", public="secret: database/postgres")
    assert made.clean("postgres hunter2") == f"postgres {MASK}"
    made.allow("")
    assert made.clean("postgres hunter2") == f"{MASK} {MASK}"


def test_each_text_of_a_structure_is_cleaned_and_the_rest_keeps_its_type_and_its_names():
    redactor = Redactor()
    redactor.learn("s", ["canary-value", "12345678", "1.5e+300", "names", '", "'])
    data = {
        "names": ["a", ("canary-value", 12345678, 1.5e300)],
        "b": {"names": b"canary-value"},
        "c": [1, 2.5, True, None],
    }
    assert redactor.clean_data(data) == {
        "names": ["a", [MASK, MASK, MASK]],
        "b": {"names": f"b'{MASK}'"},
        "c": [1, 2.5, True, None],
    }


def test_a_value_inside_another_is_hidden_with_it():
    made = redactor("hunter2", "hunter2-and-more", "and-more")
    assert made.clean("hunter2-and-more hunter2") == f"{MASK} {MASK}"


def test_a_value_after_a_long_one_that_holds_another_is_hidden():
    inner = "".join(f"{number:04}-" for number in range(300))
    made = redactor(inner, f"before {inner} after", "hunter2")
    assert made.clean(f"hunter2, before {inner} after, hunter2") == f"{MASK}, {MASK}, {MASK}"


def test_values_of_all_sources_are_hidden():
    made = Redactor()
    made.learn("a", ["value-of-a"])
    made.learn("b", ["value-of-b"])
    assert made.clean("value-of-a value-of-b") == f"{MASK} {MASK}"


def test_the_previous_value_is_still_hidden_and_an_older_one_is_forgotten():
    made = Redactor()
    for value in ("first-value", "second-value", "third-value"):
        made.learn("a", [value])
    assert made.clean("first-value second-value third-value") == f"first-value {MASK} {MASK}"


def test_learning_the_same_value_again_forgets_nothing():
    made = redactor("first-value")
    for _ in range(3):
        made.learn("a", ["second-value"])
    assert made.clean("first-value second-value") == f"{MASK} {MASK}"


def test_a_text_without_values_is_unchanged():
    assert redactor(SECRET).clean("renewed ttl=3600") == "renewed ttl=3600"
    assert Redactor().clean("renewed ttl=3600") == "renewed ttl=3600"


@pytest.mark.no_cover
def test_a_value_is_hidden_whatever_it_has_in_common_with_others():
    alike = [f"https://user:{number:04}@host:5432/db" for number in range(80)]
    made = Redactor()
    for number, value in enumerate([*alike, *["the same"] * 80]):
        made.learn(f"source {number}", [value])
    for value in alike:
        for form in FORMS.values():
            assert form(value) not in made.clean(f"<{form(value)}>")
    assert made.clean("https://user: the same") == f"https://user: {MASK}"


def test_values_that_are_forgotten_leave_the_index():
    made = Redactor()
    for number in range(1000):
        made.learn("a", [f"{number:x}-{'z' * 90}-{number}"])
    assert len(made._indexes) == 1
    assert len(made._indexes[0]._first) < 500
    assert made.clean(f"{999:x}-{'z' * 90}-999") == MASK
    assert made.clean(f"{998:x}-{'z' * 90}-998") == MASK
    assert MASK not in made.clean(f"{997:x}-{'z' * 90}-997")


@pytest.mark.long
@pytest.mark.parametrize("lines", [1, 50])
def test_new_values_of_any_size_take_no_more_memory_than_some(lines):
    made = Redactor()

    def learn(rounds, start):
        for number in range(start, start + rounds):
            made.learn("a", ["\n".join(f"{number * 7919 + line * 104729:064}" for line in range(lines))])

    learn(20, 0)
    tracemalloc.start()
    try:
        learn(20, 20)
        before = tracemalloc.get_traced_memory()[0]
        learn(200, 40)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - before < 2**18


@pytest.mark.no_cover
def test_the_cost_of_a_text_does_not_grow_with_the_number_of_values(monkeypatch):
    costs, encoded, original = [], [], redaction.forms

    def forms(text):
        encoded.append(text)
        return original(text)

    for count_ in (100, 10_000):
        made = Redactor()
        for number in range(count_):
            made.learn(f"secret {number}", [f"value-{number:06}-{number * 7919 % 10007:05}"])
        with monkeypatch.context() as patch:
            patch.setattr(redaction, "forms", forms)
            line = "renewed value-000042- ttl=3600 path=value/000042"
            assert made.clean(line) == line
            assert made.clean("is value-000042-02367.") == f"is {MASK}."
        costs.append(len(encoded))
        encoded.clear()
    assert costs[1] <= costs[0] + 8


def test_one_thread_may_learn_values_while_another_hides_them():
    made = redactor(SECRET)
    for number in range(1000):
        made.learn(f"before {number}", [f"value-{number}"])
    done = threading.Event()

    def learn():
        for number in count():
            if done.is_set():
                return
            made.learn(f"meanwhile {number % 10}", [f"other-{number}"])

    thread = threading.Thread(target=learn)
    thread.start()
    try:
        assert {made.clean(f"it is {SECRET}") for _ in range(50)} == {f"it is {MASK}"}
    finally:
        done.set()
        thread.join()
