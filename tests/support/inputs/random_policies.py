"""Hypothesis strategies for Vault policies, with few segments, so that rules often overlap."""

import json

from hypothesis import strategies as st

_ELEMENTS = ("a", "b", "ab", "+")
_GRANTED = ("read", "list", "deny", "delete", "update")


@st.composite
def paths(draw, below=""):
    """A rule's path without `+*`, which Vault refuses."""
    path = below + "/".join(draw(st.lists(st.sampled_from(_ELEMENTS), min_size=1, max_size=4)))
    end = draw(st.sampled_from(["", "*", "/*", "/"]))
    return path if path.endswith("+") and end == "*" else path + end


def policies(below=""):
    """A policy's text in HCL, whose paths start with `below`."""
    rules = st.lists(
        st.tuples(paths(below), st.lists(st.sampled_from(_GRANTED), min_size=1, max_size=2)), min_size=1, max_size=4
    )
    return rules.map(
        lambda rules: "\n".join(f'path "{path}" {{ capabilities = {json.dumps(names)} }}' for path, names in rules)
    )
