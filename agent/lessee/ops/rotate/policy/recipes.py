"""Recipes: YAML files that describe how a provider's API creates, verifies and revokes its keys."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta, field

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, describe
from lessee.config.grammar.nodes import compose
from lessee.config.grammar.problems import Path, Problems
from lessee.config.grammar.reader import Reader
from lessee.ops.rotate.policy.placeholders import names


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError from None


def _query(text: str) -> object:
    # Only rotations by recipe need the library, and its presence is checked before a recipe is read.
    import jsonpath  # noqa: PLC0415

    try:
        return jsonpath.compile(text, strict=True)
    except jsonpath.JSONPathError:
        raise ValueError("valid by RFC 9535") from None


def _scalar(expected: str, pattern: str, parse: Any) -> Meta:
    return Meta(extra={"scalar": scalars.Scalar(expected, pattern, parse)})


Url = Annotated[
    str,
    _scalar(
        "a URL that begins with `https://`, `http://` or `{…}`, without a user", r"(?:https?://|\{)[^\s@\\#]+", str
    ),
]
Json = Annotated[Any, _scalar("JSON in quotes", r"[\s\S]+", _json)]
Query = Annotated[Any, _scalar("a JSONPath such as `$.data.id`", r"\$[^\x00-\x1f]*", _query)]

_AUTHORITY = re.compile(r"(?:https?://)?[^/?]*")
_SECRETS = frozenset({"admin", "secret"})
_SECRETS_AND_KEY = _SECRETS | {"key"}


class _Request(Block, frozen=True, kw_only=True):
    """One HTTP request."""

    roots: ClassVar[frozenset[str]] = _SECRETS
    """What its placeholders may begin with."""

    method: Annotated[scalars.HttpMethod, describe("The HTTP method, such as GET, POST or DELETE.")] = "GET"
    url: Annotated[Url, describe("The URL, with placeholders such as `{handle}`.")]
    headers: Annotated[
        dict[scalars.HttpHeader, scalars.Text], describe("The headers, with placeholders such as `{admin.api_key}`.")
    ] = field(default_factory=dict)
    body: Annotated[Json | None, describe("The body as JSON, with placeholders such as `{label}`.")] = None
    expected_status: Annotated[
        tuple[scalars.Count, ...], describe("The status codes of a success; default: 200 to 299.")
    ] = ()

    def succeeds(self, status: int) -> bool:
        """Whether this status is a success."""
        return status in (self.expected_status or range(200, 300))

    @property
    def placeholders(self) -> frozenset[str]:
        """The placeholders in the request."""
        return frozenset(names([self.url, list(self.headers.values()), self.body]))


class Create(_Request, frozen=True, kw_only=True):
    """Creates a new key."""

    roots: ClassVar[frozenset[str]] = _SECRETS | {"label", "id"}

    method: Annotated[scalars.HttpMethod, describe("The HTTP method; usually POST.")] = "POST"
    fields: Annotated[
        dict[scalars.Text, Query],
        describe("The keys of the secret that change, each with its JSONPath in the response."),
    ]
    handle: Annotated[Query | None, describe("The JSONPath of the new key's id in the provider's API.")] = None


class Pagination(Block, frozen=True, kw_only=True):
    """How to request the next page of a list."""

    parameter: Annotated[scalars.Name, describe("The query parameter of the URL.")]
    cursor: Annotated[
        Query | None,
        describe("The JSONPath of the parameter's next value in a page; default: the number of keys until then."),
    ] = None


class Listing(_Request, frozen=True, kw_only=True):
    """Lists the keys."""

    items: Annotated[Query, describe("The JSONPath of the keys in the response, such as `$.data[*]`.")]
    label: Annotated[Query, describe("The JSONPath of a key's name in an item.")]
    handle: Annotated[Query, describe("The JSONPath of a key's id in an item.")]
    masked_key: Annotated[
        Query | None, describe("The JSONPath of the key with its middle replaced, such as `sk-...a1b2`, in an item.")
    ] = None
    pagination: Annotated[Pagination | None, describe("How to request the next page; default: there is one page.")] = (
        None
    )


class Find(_Request, frozen=True, kw_only=True):
    """Finds a key's id in the provider's API, usually with the key itself."""

    roots: ClassVar[frozenset[str]] = _SECRETS_AND_KEY

    handle: Annotated[Query, describe("The JSONPath of the key's id in the response.")]


class Verify(_Request, frozen=True, kw_only=True):
    """A request that succeeds only with a valid key, and costs nothing."""

    roots: ClassVar[frozenset[str]] = _SECRETS_AND_KEY

    rejected_status: Annotated[
        tuple[scalars.Count, ...], describe("The status codes that mean that the key is not valid.")
    ] = (401, 403)
    propagation_delay: Annotated[
        scalars.Duration, describe("How long the provider may reject a new key after its creation.")
    ] = 0.0


class Revoke(_Request, frozen=True, kw_only=True):
    """Disables or revokes a key."""

    roots: ClassVar[frozenset[str]] = _SECRETS_AND_KEY | {"handle"}

    method: Annotated[scalars.HttpMethod, describe("The HTTP method; usually DELETE, or PATCH to disable a key.")] = (
        "DELETE"
    )
    missing_status: Annotated[
        tuple[scalars.Count, ...],
        describe("The status codes that mean that the key does not exist, which is a success."),
    ] = (404, 410)


class Recipe(Block, frozen=True, kw_only=True):
    """The requests to a provider."""

    insecure: Annotated[scalars.Boolean, describe("Allow requests without TLS.")] = False
    create: Annotated[Create | None, describe("Creates a new key.")] = None
    list: Annotated[Listing | None, describe("Lists the keys, to find those of an interrupted attempt.")] = None
    find: Annotated[Find | None, describe("Finds the id of a key that lessee has not created.")] = None
    verify: Annotated[Verify | None, describe("Checks whether a key is valid.")] = None
    disable: Annotated[Revoke | None, describe("Disables a key, so that it can be enabled again.")] = None
    revoke: Annotated[Revoke | None, describe("Revokes a key permanently.")] = None

    @property
    def requests(self) -> Mapping[str, _Request]:
        """The requests of this recipe, by name."""
        all_ = {name: getattr(self, name) for name in ("create", "list", "find", "verify", "disable", "revoke")}
        return {name: request for name, request in all_.items() if request is not None}

    @property
    def verification(self) -> "Recipe":
        """The part that only verifies a key."""
        return Recipe(insecure=self.insecure, verify=self.verify)

    def keys_of(self, root: str) -> frozenset[str]:
        """The keys that the placeholders need of a root such as `admin`."""
        found = (name.partition(".") for request in self.requests.values() for name in request.placeholders)
        return frozenset(key for head, _, key in found if head == root)


def parse(text: str, *, source: str, whole: bool) -> Recipe:
    """The recipe in a YAML text. `whole` False: it is only used to verify keys.

    Raises ConfigError with all problems and their lines; `source` names the file in them.
    """
    problems = Problems(source)
    recipe = Reader(problems, {}).read_as(Recipe, compose(text, source))
    for name in ("create", "verify", "revoke") if whole else ("verify",):
        if getattr(recipe, name) is None and (name,) not in problems.lines:
            problems.add_dependent((name,), "missing; expected a mapping", todo="a rotation needs this request")
    for path, what, todo in _problems(recipe):
        problems.add_dependent(path, what, todo=todo)
    problems.raise_all()
    return recipe


def _problems(recipe: Recipe) -> Iterator[tuple[Path, str, str]]:
    for name, request in recipe.requests.items():
        yield from _unknown_placeholders(recipe, name, request)
        yield from _exposed_admin(name, request)
    yield from _chosen_handle(recipe)
    create = recipe.create
    if create is None:
        return
    if not create.fields:
        yield ("create", "fields"), "empty", "name the keys of the secret, with their JSONPaths in the response"
    for name in ("revoke", "disable"):
        if name in recipe.requests and "handle" in recipe.requests[name].placeholders and create.handle is None:
            todo = "set it to the JSONPath of the new key's id in the response"
            yield ("create", "handle"), f"missing; `{name}` uses {{handle}}", todo
    if recipe.list is not None:
        if "label" not in create.placeholders:
            todo = "put {label} into the new key's name, so that `list` finds the key of an interrupted attempt"
            yield ("create",), "no {label} in the request", todo
        if recipe.revoke is not None and "handle" not in recipe.revoke.placeholders:
            yield ("revoke",), "no {handle} in the request", "use {handle}, the only thing that `list` returns of a key"


def _exposed_admin(name: str, request: _Request) -> Iterator[tuple[Path, str, str]]:
    """Who may write the secret that apps read must not choose the server that gets the admin's credential."""
    chosen = _server_of_secret(request)
    if chosen and any(one.startswith("admin.") for one in request.placeholders):
        what = f"{{{chosen[0]}}} would choose the server that gets {{admin.…}}, and others may write that secret"
        yield (name, "url"), what, "write the server's name, or take it from {admin.…} too"


def _chosen_handle(recipe: Recipe) -> Iterator[tuple[Path, str, str]]:
    """Nor the server that says which key is revoked: `find`, or with `masked_key` the one that says whose key it is."""
    has_masked_keys = recipe.list is not None and recipe.list.masked_key is not None
    requests: list[tuple[str, _Request | None]] = [("find", recipe.find)]
    requests += [("verify", recipe.verify)] if has_masked_keys else []
    for name, request in requests:
        if request is not None and (chosen := _server_of_secret(request)):
            what = f"{{{chosen[0]}}} would choose the server that says which key is revoked"
            yield (name, "url"), what, "write the server's name, or take it from {admin.…}"


def _server_of_secret(request: _Request) -> list[str]:
    """The placeholders by which who may write the secret that apps read chooses the request's server."""
    found = _AUTHORITY.match(request.url)
    assert found is not None
    return [one for one in names(found[0]) if one.partition(".")[0] in {"secret", "key"}]


def _unknown_placeholders(recipe: Recipe, name: str, request: _Request) -> Iterator[tuple[Path, str, str]]:
    fields = recipe.create.fields if recipe.create is not None else None
    known = ", ".join(f"{{{root}.…}}" if root in _SECRETS_AND_KEY else f"{{{root}}}" for root in sorted(request.roots))
    for placeholder in sorted(request.placeholders):
        root, dot, key = placeholder.partition(".")
        if root not in request.roots or bool(dot) != (root in _SECRETS_AND_KEY):
            yield (name,), f"unknown placeholder {{{placeholder}}}", f"known placeholders: {known}"
        elif root == "key" and name != "verify" and fields is not None and key not in fields:
            todo = "use a key of `create.fields`"
            yield (name,), f"unknown placeholder {{{placeholder}}}: `create.fields` has no {key}", todo
