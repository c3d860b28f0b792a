"""The pages of the documentation agree with each other: every link leads somewhere."""

import re
import subprocess

import pytest

from bench import figures
from lessee.cli.dispatch import whole_parser
from lessee.config.parsing import parse
from lessee.core.errors import UsageError
from support import operations, sentences
from support.paths import ROOT
from support.reference.pages import FOLDER
from support.reference.pages import PAGES as GENERATED
from support.typed_commands import typed_commands

PAGES = sorted(
    name
    for name in subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    if (ROOT / name).is_file() and not (ROOT / name).is_symlink()
)


def anchors(text):
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


def test_each_page_of_operations_has_its_place_in_the_order():
    assert sorted(operations.ORDER) == sorted(file.stem for file in operations.FOLDER.glob("*.md"))


def test_each_command_of_a_page_is_one_that_there_is():
    parser, wrong, number = whole_parser(), [], 0
    for page in PAGES:
        for words in typed_commands((ROOT / page).read_text(), "lessee"):
            number += 1
            try:
                parser.parse_args(words)
            except UsageError as exc:
                wrong.append(f"{page}: {exc.what}")
    assert number > 150
    # This page shows what an error says.
    assert {one for one in wrong if not one.startswith("docs/reference/command-line.md: ")} == set()


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("name", GENERATED)
def test_each_generated_page_of_the_reference_is_what_the_code_says(name):
    assert (FOLDER / f"{name}.md").read_text() == GENERATED[name](), "run: make docs"


GUIDES = ("notify", "tls", "wrapped-secret-ids", "several-identities", "issue", "encrypted-logins")


@pytest.mark.parametrize("guide", GUIDES)
def test_each_configuration_of_a_guide_is_valid(guide):
    text = (ROOT / f"docs/how-to/{guide}.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        parse(block, source=f"{guide}.md", environ={"LESSEE_ENVIRONMENT": "testing"})


def test_sentences_are_short():
    texts = [page.read_text() for page in sentences.pages() if page.stem not in GENERATED]
    found = [one for text in texts for one in sentences.long_sentences(text)]
    number = sum(1 for text in texts for _ in sentences.sentences(text))
    assert len(found) <= 0.03 * number, "run: python tests/support/sentences.py, and shorten what it lists"


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1_200


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("One two. Three\nfour!\n", ["One two.", "Three four!"]),
        ("# A heading\n\nText.\n\n```sh\nnot this one. or this\n```\n", ["Text."]),
        ("- one item\n  with a line\n- **Two.** And three.\n", ["one item with a line", "**Two.", "And three."]),
        ("| a | b |\n|---|---|\n| 2 s | a cell of words. And another one |\n", ["a cell of words.", "And another one"]),
        ("Read `lessee check --a. b` and [the page](a.md#b) now.\n", ["Read code and the page now."]),
        ("It waits 0.5 s, as lessee.yaml says.\n", ["It waits 0.5 s, as lessee.yaml says."]),
    ],
)
def test_a_page_is_cut_into_sentences(page, found):
    assert list(sentences.sentences(page)) == found


def test_a_sentence_of_more_than_twenty_five_words_is_long():
    assert sentences.long_sentences(f"{'word ' * 25}.\n\n{'word ' * 26}.\n") == [("word " * 26).strip() + " ."]


def test_the_page_of_figures_is_what_the_stored_runs_make():
    assert figures.PAGE.read_text() == figures.page(*figures.load()), "run: python tests/bench/run.py --page"


def test_only_benchmarks_without_a_stored_run_have_rows_of_earlier_runs():
    runs, earlier = figures.load()
    assert set(earlier) & set(runs) == set()
    assert {*earlier, *(file.stem for file in figures.RUNS.glob("*.json"))} - {*figures.NAMES, "earlier"} == set()


def test_every_benchmark_is_measured_and_described():
    modules = {
        file.stem
        for file in (ROOT / "tests/bench").glob("*.py")
        if re.search(r"^def measure\(", file.read_text(), re.MULTILINE)
    }
    described = re.findall(r"^\| `(\w+)` \|", (ROOT / "tests/bench/README.md").read_text(), re.MULTILINE)
    assert sorted(figures.NAMES) == sorted(modules) == sorted(described)


def run(*rows):
    return figures.Run(date="2026-01-02", python="3.13.1", bao="2.7.2", processors=2, took=90.0, figures=rows)


def test_a_row_of_figures_has_its_benchmark_its_date_its_note_and_whether_it_missed():
    text = figures.page(
        {
            "start": run(
                figures.Figure("a|b", "2 s", "1 s", "≤ 2 s", met=True, note="Same."),
                figures.Figure("c", "", "3 s", "≤ 2 s", met=False, note="Other."),
                figures.Figure("d", "", "4 s", note="Same."),
            )
        },
        {},
    )
    where = "[`start`](../../tests/bench/README.md) 2026-01-02"
    assert text.partition("## Start, memory and idle cost\n\n")[2].partition("\n## ")[0].splitlines() == [
        "| figure | bao agent | lessee | target | run |",
        "| --- | --- | --- | --- | --- |",
        rf"| a\|b¹ | 2 s | **1 s** | ≤ 2 s | {where} |",
        f"| c² | – | 3 s | ≤ 2 s: missed | {where} |",  # noqa: RUF001  # An en dash is intended.
        f"| d¹ | – | 4 s |  | {where} |",  # noqa: RUF001  # As above.
        "",
        "¹ Same.",
        "",
        "² Other.",
    ]
    assert "| `start` | 2026-01-02 | 3.13.1 | 2 | 2.7.2 | 1.5 min |" in text
    assert "## Outages" not in text
    assert "## Earlier runs" not in text


def test_a_stored_run_replaces_the_last_one_and_the_earlier_rows(tmp_path, monkeypatch):
    for name, value in (("RUNS", tmp_path), ("EARLIER", tmp_path / "earlier.json"), ("PAGE", tmp_path / "page.md")):
        monkeypatch.setattr(figures, name, value)
    row = '[{"name": "before", "peer": "", "lessee": "1"}]'
    figures.EARLIER.write_text(f'{{"start": {row}, "herd": {row}}}')
    for text in ("first", "second"):
        figures.store("start", run(figures.Figure(text, "", "1")))
    runs, earlier = figures.load()
    assert runs == {"start": run(figures.Figure("second", "", "1"))}
    assert list(earlier) == ["herd"]
    assert figures.PAGE.read_text() == figures.page(runs, earlier)
    above, _, below = figures.PAGE.read_text().partition("## Earlier runs")
    assert "| second |" in above
    assert "[`herd`]" in below
    assert "| first |" not in above + below
    assert "[`start`]" not in below
