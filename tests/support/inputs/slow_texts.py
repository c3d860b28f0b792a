"""Files that are built to be slow to verify, by format: `VALUE` is where a secret is.

Most took the square of their size once. All are nearly as large as a file may be: 512 KiB, and 100,000 words.
"""

VALUE = "VALUE"

_SPACES = " " * 400_000
_FIELDS = range(12_000)

SLOW_TEXTS = {
    "dotenv": (
        f"A={VALUE}\nB='" + "${E={" * 19_000 + "'\n",
        f"A={VALUE}\nB='" + "${" * 30_000 + ":'\n",
        f"A={VALUE}\nB=#{_SPACES}x\n",
        f"A={VALUE}\nVITE_A=1\nB=" + " B=" * 33_000 + "\n",
        f"A={VALUE}\nVITE_A=1\nB='" + "''" * 45_000 + "\n",
        "".join(f"A{n}=$A{n - 1}\nVITE_{n}=$A{n}\n" for n in range(8_000)) + f"B={VALUE}\n",
    ),
    "dotenv-node": (
        f"A={VALUE}\n" + "=" * 90_000 + _SPACES + "\n",
        f"A={VALUE}\nB=x" + "\u2028'x" * 30_000 + "\n",
    ),
    "dotenv-vite": (
        f"A={VALUE}\nB={'x' * 10_000}\nC={'$B' * 98}\n",
        f"A={VALUE}\nB={'x' * 10_000}\n" + "".join(f"C{n}={'$B' * 40}\n" for n in range(500)),
        f"A={VALUE}\nB={'$z' * 98}\n" + "".join(f"C{n}=$B\n" for n in range(14_000)),
        f"A={VALUE}\nB={'$`' * 30_000}\nC={'x' * 200_000}$B\n",
        f"A={VALUE}\n" + "".join(f"C{n}=$A\n" for n in range(9_000)),
    ),
    "dotenv-compose": (
        f"A={VALUE}\nB=" + "${A-}" * 18_000 + "\n",
        f"A={VALUE}\nB=" + "${A-" * 200 + "x" * 300_000 + "}" * 200 + "\n",
        f"A={VALUE}\nB=" + "${A-" * 18_000 + "}" * 18_000 + "\n",
    ),
    "dotenv-docker": (f"A={VALUE}\n" + "B=\n" * 33_000,),
    "sh": (
        f"A={VALUE}\nB=" + "$%" * 45_000 + "\n",
        f"A={VALUE}\nB=" + "$(b)" * 15_000 + "x" * 300_000 + "\n",
        f"A={VALUE}\n" + "".join(f"cat <<E{n}\nE{n}\n" for n in range(9_000)),
        f"A={VALUE}\nrun " + "a " * 95_000 + "\n",
    ),
    "systemd": (f"A={VALUE}\nB=" + "'a' " * 23_000 + "\n", f"A={VALUE}\nB=a{_SPACES}\\\n"),
    "json": (
        f'{{"a": {VALUE}, "b": [' + "1," * 45_000 + "1]}",
        f'{{"a": {VALUE}, "b": ' + "[" * 45_000 + "]" * 45_000 + "}",
    ),
    "yaml": (
        f"a: {VALUE}\nb: [" + "a, " * 47_000 + "]\n",
        f"a: {VALUE}\nb: " + "[" * 90_000 + "\n",
        f"? {VALUE}\n" + "? ? a\n" * 24_000,
    ),
    "toml": (
        f"a = {VALUE}\nb" + ".a" * 45_000 + " = 1\n",
        f"a = {VALUE}\n[b" + ".b" * 90 + "]\n" + "".join(f"a{n} = 1\n" for n in range(20_000)),
        f"a = {VALUE}\nb = [" + "1," * 45_000 + "]\n",
    ),
    "ini": (
        f"[a]\nb = {VALUE}\nc{_SPACES}c\n",
        "[DEFAULT]\n"
        + "".join(f"a{n} = \n" for n in _FIELDS)
        + "".join(f"[b{n}]\n" for n in _FIELDS)
        + f"c = {VALUE}\n",
        f"[a]\nb = {VALUE}\n" + " x\n" * 47_000,
        f"[a]\nb = {VALUE}\n" + "x\n" * 49_000,
    ),
    "ini-interpolation": (
        f"[a]\nb = {VALUE}\nc = " + "%(b)s" * 18_000 + "\n",
        f"[a]\nb = {VALUE}\nc = " + "%(" * 45_000 + "\n",
    ),
    "properties": (f"a = {VALUE}\nb = " + "c\\\n" * 31_000 + "\n", f"a = {VALUE}\nb{_SPACES}c\n"),
    "xml": (f"<a>{VALUE}" + "<b>&amp;</b>" * 8_900 + "</a>", f"<a>{VALUE}" + "<b>" * 14_000 + "</b>" * 14_000 + "</a>"),
    "nginx": (
        f'set $a {VALUE};\na_by_lua_block {{ "' + '\\"' * 45_000 + "}\n",
        f"set $a {VALUE};\nb " + "c " * 90_000 + ";\n",
    ),
    "pgpass": (f"a:b:c:d:{VALUE}\n" + "\\:" * 47_000 + "\n",),
}
