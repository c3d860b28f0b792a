"""What pip has compiled is used in an image, at its new place."""

import marshal
import os
import py_compile
import sys

from lessee.ops.adopt.agent_image import bytecode_of

TARGET = "/opt/lessee/lib/module.py"


def test_bytecode_is_moved_and_a_stale_or_missing_one_is_not_used(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("def outer():\n    def inner(): return __file__\n    return inner\n")
    assert bytecode_of(module, TARGET) is None
    py_compile.compile(str(module))
    moved = bytecode_of(module, TARGET)
    assert str(tmp_path).encode() not in moved
    scope = {"__file__": "x"}
    exec(marshal.loads(moved[16:]), scope)  # noqa: S102, S302  # The module above.
    assert scope["outer"]()() == "x"
    assert scope["outer"]().__code__.co_filename == TARGET
    os.utime(module, (1, 1))
    assert bytecode_of(module, TARGET) is None


def test_a_python_without_bytecode_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    assert bytecode_of(tmp_path / "module.py", TARGET) is None
