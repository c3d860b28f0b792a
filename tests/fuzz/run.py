"""Feeds a parser with its corpus, with tokens repeated, and with random changes of both.

    python tests/fuzz/run.py hcl                    # a bounded run, the same each time, as in `make test`
    python tests/fuzz/run.py --seconds 3600 hcl     # with atheris, which follows the coverage of the code
    python tests/fuzz/run.py --seconds 60 all       # each parser in turn, as `make fuzz`

It prints each input that makes a parser raise another error than its own, take more than a second of the processor, or
more than 256 MiB; with --save it writes them to the corpus. The exit code is 1 if it finds one.
"""

import argparse
import base64
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
atheris = None
if "--seconds" in sys.argv:
    with suppress(ImportError):
        import atheris
# atheris follows the modules that it sees imported.
with atheris.instrument_imports(include=["lessee"]) if atheris else nullcontext():
    from fuzz.parsers import PARSERS
    from support.thorough import THOROUGH, sampled

CORPUS = Path(__file__).parent / "corpus"
SECONDS = 1.0
"""The limit of an input's processor time."""
MEMORY = 256 << 20
"""The limit in bytes of a run's memory above that of the imports."""
REPEATED = 64 * 1024
"""Bytes of an input that repeats a token: enough for a square of it to take longer than the limit."""
LONGEST = 1 << 17
OWN_CHANGES = 0.5
"""The part of atheris's inputs that are changed here; it changes the others itself."""
TOKENS = [
    *(bytes([byte]) for byte in b"(){}[]<>\"'`\\#$%&*+-.,:;=?@!|/~^_ \t\n\r\x00\x7f\xff0aA"),
    *(b"\r\n", b"${", b"{{", b"}}", b"{%", b"%}", b"{#", b"#}", b"$(", b"$((", b"/*", b"*/", b"//", b"<<", b"<!--"),
    *(b"-->", b"<![CDATA[", b"]]>", b"<a>", b"</a>", b"&amp;", b"\\u", b"\\x", b"---\n", b"- ", b"? ", b": ", b"&a "),
    *(b"*a", b"!!", b"a: ", b"a=1\n", b"a {", b"{a=", b"[a,", b"<<E\n", b'"a":', b'[{"a":', b"\xef\xbb\xbf"),
    *(b"\xe2\x80\xae", b"\xed\xa0\x80", b"1e999", b"9" * 19, b"{{if a}}", b"{{end}}", b"{{range .}}", b"{{with a}}"),
    *(b'{{define "a"}}', b'{{template "a"}}', b"{{(", b"| ", b"[[a]]\n", b"[a.b.c]\n", b"a.b.c=1\n", b"[a]\n", b'"""'),
    *(b"'''", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"a:b\r\n", b"1\r\na\r\n", b"if a; then "),
    *(b"case a in ", b"a() {", b"$'", b"`a", b"export a=", b"a\\\n"),
]
NESTED = [
    (b"[", b"1", b"]"),
    (b'{"a":', b"1", b"}"),
    (b"{a: ", b"1", b"}"),
    (b"(", b"a", b")"),
    (b"{{if a}}", b"", b"{{end}}"),
    (b"${a:-", b"", b"}"),
    (b"$(", b"a", b")"),
    (b"a {\n", b"", b"}\n"),
    (b"<a>", b"", b"</a>"),
    (b"if a; then ", b"a; ", b"fi; "),
    (b"- ", b"a", b""),
    (b"((", b"1", b"))"),
]


class Hang(Exception):  # noqa: N818  # Not an error of the program.
    """An input took too long."""


def check(name: str, data: bytes) -> str | None:
    """What is wrong with a parser's treatment of an input, None if nothing is."""
    parser = PARSERS[name]
    began = time.thread_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, 2 * SECONDS)
    try:
        parser.parse(data)
    except parser.errors:
        pass
    except Hang:
        return "it does not end"
    except BaseException as exc:  # Any other error is a finding.
        if isinstance(exc, KeyboardInterrupt | SystemExit):
            raise
        return f"it raises {type(exc).__name__}: {exc}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    took = time.thread_time() - began
    return f"it takes {took:.1f} s" if took > SECONDS else None


def seeds(name: str) -> list[bytes]:
    """The corpus of a parser."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def repeated() -> list[bytes]:
    """Each token again and again, and nested: open without end."""
    return [(token * (REPEATED // len(token)))[:REPEATED] for token in TOKENS]


def mutated(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Some changes of an input."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at, end = sorted(chance.randint(0, len(changed)) for _ in range(2))
        match chance.randrange(8):
            case 0:
                changed[at:at] = chance.choice(TOKENS) * chance.choice((1, 1, 2, 50, 3000))
            case 6:
                opening, middle, closing = chance.choice(NESTED)
                depth = chance.choice((2, 20, 300, 5000))
                changed[at : min(end, at + 4)] = opening * depth + middle + closing * depth
            case 1:
                del changed[at : min(end, at + 16)]
            case 2:
                changed[at:at] = changed[at:end] * chance.choice((1, 2, 20))
            case 3 if changed:
                changed[at - 1] ^= 1 << chance.randrange(8)
            case 4:
                changed[at : min(end, at + 4)] = chance.choice(TOKENS)
            case 5 if others:
                other = chance.choice(others)
                cut = chance.randint(0, len(other))
                changed[at:] = other[cut:]
            case _:
                changed[at:at] = chance.randbytes(chance.randint(1, 4))
        del changed[LONGEST:]
    return bytes(changed)


def bounded(name: str, runs: int, seconds: float | None, seed: int) -> dict[bytes, str]:
    """The findings of a run: the corpus, tokens, and random changes. `seconds`: instead of a number of runs.

    Without `seconds`, each parser gets a part of the tokens, with THOROUGH=yes all.
    """
    found: dict[bytes, str] = {}
    own = seeds(name)

    def look(data: bytes) -> None:
        wrong = check(name, data)
        if wrong is not None and all(_kind(wrong) != _kind(one) for one in found.values()):
            found[data] = wrong

    prefixes = [prefix for data in own[:8] for prefix in (data, data[: len(data) // 2])]
    after = [(prefix, token) for token in TOKENS for prefix in (prefixes[:2] if seconds is None else prefixes)]
    alone = repeated()
    if seconds is None:
        # An odd step meets each token after both prefixes.
        alone, after = list(sampled(alone, of=3, key=name)), list(sampled(after, of=3, key=name))
    for data in (*own, *alone, *(prefix + token * 2000 for prefix, token in after)):
        look(data)
    chance, began, done = random.Random(seed), time.monotonic(), 0  # noqa: S311  # Not used for secrets.
    while done < runs if seconds is None else time.monotonic() - began < seconds:
        look(mutated(chance.choice([*own, b""]), own, chance))
        done += 1
    return found


def guided(name: str, seconds: float, *, save: bool) -> None:
    """Run atheris for some seconds, or to its first finding, and end the process: with 1 if there is one."""
    own = seeds(name)

    def one(data: bytes) -> None:
        wrong = check(name, data)
        if wrong is not None:
            report(name, {data: wrong}, save=save)
            os._exit(1)  # libFuzzer ends the process without Python's own end.

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311  # As above.
        if chance.random() < OWN_CHANGES:
            return mutated(data, own, chance)[:size]
        return atheris.Mutate(data, size)

    limits = [f"-max_total_time={max(1, int(seconds))}", f"-max_len={LONGEST // 4}", "-timeout=600"]
    limits += [f"-rss_limit_mb={_peak() + MEMORY >> 20}", "-verbosity=0"]
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(own):
            (Path(folder) / str(number)).write_bytes(data)
        limits.append(f"-artifact_prefix={folder}/")
        atheris.Setup([sys.argv[0], *limits, folder], one, custom_mutator=mutate)
        atheris.Fuzz()


def report(name: str, found: dict[bytes, str], *, save: bool = False) -> None:
    """Print the findings."""
    for data, wrong in found.items():
        text = base64.b64encode(data[:300]).decode()
        print(f"{name}: {wrong}; {len(data)} bytes: {data[:60]!r} base64 of the first 300: {text}", flush=True)
        if save:
            (CORPUS / name).mkdir(exist_ok=True)
            (CORPUS / name / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


def main() -> int:
    """1 if there is a finding."""
    options = argparse.ArgumentParser()
    options.add_argument("parser", choices=[*PARSERS, "all"])
    options.add_argument("--runs", type=int, default=200 if THOROUGH else 100)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--seconds", type=float)
    options.add_argument("--save", action="store_true")
    chosen = options.parse_args()
    if chosen.parser == "all":
        arguments = [argument for argument in sys.argv[1:] if argument != "all"]
        codes = {name: subprocess.call([sys.executable, __file__, *arguments, name]) for name in PARSERS}
        print("findings:", ", ".join(name for name, code in codes.items() if code) or "none")
        return max(codes.values())
    signal.signal(signal.SIGVTALRM, _end)
    before = _peak()
    found: dict[bytes, str] = {}
    if atheris is not None and chosen.seconds is not None:
        guided(chosen.parser, chosen.seconds, save=chosen.save)
    try:
        found = bounded(chosen.parser, chosen.runs, chosen.seconds, chosen.seed)
    finally:
        report(chosen.parser, found, save=chosen.save)
    if (used := _peak() - before) > MEMORY:
        print(f"{chosen.parser}: it takes {used >> 20} MiB")
        return 1
    return 1 if found else 0


def _kind(wrong: str) -> str:
    """A finding without its number: one slow input is enough."""
    return wrong.rstrip("0123456789. s")


def _end(*_: object) -> None:
    raise Hang


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
