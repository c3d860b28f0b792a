"""Dumps YAML in block style that parsers of YAML 1.1 and 1.2 read alike."""

import math
import re

import yaml

# Plain scalars of PyYAML that some parser reads as a number or a boolean.
_NOT_TEXT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+|[yYnN]"
)


def dump(data: object) -> str:
    """Plain data as YAML text without a final newline. Keys stay in order."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: object) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    quoted = _NOT_TEXT.fullmatch(text) or not text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Dumper.add_representer(str, _text)
