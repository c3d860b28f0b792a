"""Secrets within texts are found in a time that grows with the text alone, whatever it has."""

import time

import pytest

from lessee.ops.adopt.policy.secret_parts import secret_parts

_SIZE = 20_000
_MOST = 40
"""Times that a text may cost which is eight times as long; a square is 64 times."""


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "word",
    [
        "a",
        "a:",
        "a:b@",
        "a:b@tcp(",
        "a:b@tcp(h)/",
        "-",
        " ",
        " -",
        "\n ",
        "\n-",
        "a://",
        "a://b:",
        "jdbc:",
        "password",
        "secret ",
        "password= ",
        "password=a ",
        "mysql ",
        "mysql -x ",
        "redis-cli ",
        "redis-cli -a",
        "?token",
        "--token ",
    ],
)
@pytest.mark.parametrize("start", ["", "x@tcp(", "password=a", "\n"])
def test_a_long_text_costs_no_more_than_its_length(word, start):
    def cost(size):
        text = f"{start}{word * (size // len(word))}\nb"
        began = time.process_time()
        secret_parts(text)
        return time.process_time() - began

    cost(1000)  # Warm.
    short = min(cost(_SIZE // 8) for _ in range(3))
    assert cost(_SIZE) < max(_MOST * short, 0.5)
