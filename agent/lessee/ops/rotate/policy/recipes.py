"""How a provider makes, proves and revokes its keys, as a recipe in YAML says it."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta, field

from lessee.config.grammar import scalars as w
from lessee.config.grammar.block import Block, says
from lessee.config.grammar.nodes import compose
from lessee.config.grammar.problems import Path, Problems
from lessee.config.grammar.reader import Reader
from lessee.ops.rotate.policy.placeholders import names


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("which this is not") from None


def _query(text: str) -> object:
    # Only who has the library can rotate by a recipe, and it is looked for before a recipe is read.
    import jsonpath  # noqa: PLC0415

    try:
        return jsonpath.compile(text, strict=True)
    except jsonpath.JSONPathError:
        raise ValueError("of RFC 9535, which this is not") from None


def _word(expected: str, pattern: str, parse: Any) -> Meta:
    return Meta(extra={"word": w.Word(expected, pattern, parse)})


Url = Annotated[
    str,
    _word("a URL that begins with `https://`, `http://` or `{…}`, without a user", r"(?:https?://|\{)[^\s@\\#]+", str),
]
Json = Annotated[Any, _word("a text in JSON, quoted", r"[\s\S]+", _json)]
Query = Annotated[Any, _word("a JSONPath such as `$.data.id`", r"\$[^\x00-\x1f]*", _query)]

_OF_ADMIN = frozenset({"admin", "secret"})
_OF_KEY = _OF_ADMIN | {"key"}


class _Request(Block, frozen=True, kw_only=True):
    """One HTTP request."""

    roots: ClassVar[frozenset[str]] = _OF_ADMIN
    """What its placeholders may begin with."""

    method: Annotated[w.HttpMethod, says("GET, POST, DELETE…")] = "GET"
    url: Annotated[Url, says("Where to.")]
    headers: Annotated[dict[w.HttpHeader, w.Text], says("Headers; what they hold is sent nowhere else.")] = field(
        default_factory=dict
    )
    body: Annotated[Json | None, says("A JSON text.")] = None
    expect: Annotated[tuple[w.Count, ...], says("The statuses of a success; default: all from 200 to 299.")] = ()

    def succeeds(self, status: int) -> bool:
        """Whether an answer with this status says that it was done."""
        return status in (self.expect or range(200, 300))

    @property
    def places(self) -> frozenset[str]:
        """The placeholders in it."""
        return frozenset(names([self.url, list(self.headers.values()), self.body]))


class Create(_Request, frozen=True, kw_only=True):
    """Makes a new key."""

    roots: ClassVar[frozenset[str]] = _OF_ADMIN | {"label", "id"}

    method: Annotated[w.HttpMethod, says("As a rule POST.")] = "POST"
    take: Annotated[dict[w.Text, Query], says("The keys of the secret that change, and where the answer has them.")]
    handle: Annotated[Query | None, says("Where the answer has what the API calls the new key.")] = None


class Pages(Block, frozen=True, kw_only=True):
    """How the next page of a list is asked for."""

    argument: Annotated[w.Name, says("The argument of the query.")]
    after: Annotated[
        Query | None,
        says("Where a page has what the next one is asked with; absent: it is the number of keys that were shown."),
    ] = None


class Listing(_Request, frozen=True, kw_only=True):
    """Lists the keys that there are."""

    items: Annotated[Query, says("The keys in the answer, such as `$.data[*]`.")]
    label: Annotated[Query, says("A key's name, in what `items` finds.")]
    handle: Annotated[Query, says("What the API calls it.")]
    hint: Annotated[Query | None, says("The key itself with its middle left out.")] = None
    pages: Annotated[Pages | None, says("How the next page is asked for; absent: there is one.")] = None


class Find(_Request, frozen=True, kw_only=True):
    """Asks what the API calls a key, mostly with the key itself."""

    roots: ClassVar[frozenset[str]] = _OF_KEY

    handle: Annotated[Query, says("Where the answer has it.")]


class Prove(_Request, frozen=True, kw_only=True):
    """Is let in with a valid key alone, and costs nothing."""

    roots: ClassVar[frozenset[str]] = _OF_KEY

    refused: Annotated[tuple[w.Count, ...], says("The statuses that say: the key is not valid.")] = (401, 403)
    settle: Annotated[w.Duration, says("So long a key may be refused after it was made.")] = 0.0


class Revoke(_Request, frozen=True, kw_only=True):
    """Takes a key out of use."""

    roots: ClassVar[frozenset[str]] = _OF_KEY | {"handle"}

    method: Annotated[w.HttpMethod, says("As a rule DELETE; to disable, PATCH.")] = "DELETE"
    gone: Annotated[tuple[w.Count, ...], says("The statuses that say: there is no such key, which is as good.")] = (
        404,
        410,
    )


class Recipe(Block, frozen=True, kw_only=True):
    """What to send to a provider."""

    insecure: Annotated[w.Switch, says("true lets keys cross a network without TLS.")] = False
    create: Annotated[Create | None, says("Makes a new key.")] = None
    list: Annotated[Listing | None, says("Finds what a try that was killed left behind.")] = None
    find: Annotated[Find | None, says("What the API calls a key that lessee has not made.")] = None
    prove: Annotated[Prove | None, says("Whether a key is valid.")] = None
    disable: Annotated[Revoke | None, says("Takes a key out of use, so that it can be brought back.")] = None
    revoke: Annotated[Revoke | None, says("Removes a key for good.")] = None

    @property
    def requests(self) -> Mapping[str, _Request]:
        """Those that it has, by name."""
        all_ = {name: getattr(self, name) for name in ("create", "list", "find", "prove", "disable", "revoke")}
        return {name: request for name, request in all_.items() if request is not None}

    @property
    def to_prove(self) -> "Recipe":
        """The part that only tries a key."""
        return Recipe(insecure=self.insecure, prove=self.prove)

    def places(self, root: str) -> frozenset[str]:
        """The keys that are wanted of `admin`, say."""
        found = (place.partition(".") for request in self.requests.values() for place in request.places)
        return frozenset(key for head, _, key in found if head == root)


def parse(text: str, *, source: str, whole: bool) -> Recipe:
    """What a recipe says. `whole`: keys are to be made by it, and not only proved.

    Raises ConfigError with all that is wrong, by line; `source` is what errors call the file.
    """
    problems = Problems(source)
    recipe = Reader(problems, {}).read_as(Recipe, compose(text, source))
    for name in ("create", "prove", "revoke") if whole else ("prove",):
        if getattr(recipe, name) is None and (name,) not in problems.lines:
            problems.follow((name,), "missing; expected a mapping", todo="without it no key can be rotated")
    for path, what, todo in _faults(recipe):
        problems.follow(path, what, todo=todo)
    problems.raise_all()
    return recipe


def _faults(recipe: Recipe) -> Iterator[tuple[Path, str, str]]:
    for name, request in recipe.requests.items():
        yield from _misplaced(recipe, name, request)
    create = recipe.create
    if create is None:
        return
    if not create.take:
        yield ("create", "take"), "it takes nothing from the answer", "say which key of the secret is where"
    for name in ("revoke", "disable"):
        if name in recipe.requests and "handle" in recipe.requests[name].places and create.handle is None:
            todo = "say where the answer has what the API calls the new key"
            yield ("create", "handle"), f"missing, and {name} wants {{handle}}", todo
    if recipe.list is not None:
        if "label" not in create.places:
            todo = "put {label} into the new key's name"
            yield ("create",), "nothing in it is {label}, by which `list` finds what a killed try left", todo
        if recipe.revoke is not None and "handle" not in recipe.revoke.places:
            yield ("revoke",), "nothing in it is {handle}, which is all that `list` tells of a key", "revoke by it"


def _misplaced(recipe: Recipe, name: str, request: _Request) -> Iterator[tuple[Path, str, str]]:
    taken = recipe.create.take if recipe.create is not None else None
    known = ", ".join(f"{{{root}.…}}" if root in _OF_KEY else f"{{{root}}}" for root in sorted(request.roots))
    for place in sorted(request.places):
        root, dot, key = place.partition(".")
        if root not in request.roots or bool(dot) != (root in _OF_KEY):
            yield (name,), f"{{{place}}} is not known here", f"there are {known}"
        elif root == "key" and name != "prove" and taken is not None and key not in taken:
            yield (name,), f"{{{place}}} is not among `take`", "it is known only of what is taken from the answer"
