"""Sends the requests of a recipe, and judges what comes back."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlencode

from lessee.core.errors import LesseeError
from lessee.ops.rotate.http import Answer, Client
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy import placeholders, provider_responses
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.rotate.policy.provider_responses import Listed
from lessee.ops.rotate.policy.recipes import Recipe
from lessee.telemetry.logs import log

PATIENCE = 20.0
"""Seconds that all requests of one step may take together."""
_LONGEST = 10.0
_PAUSE = 0.25
_MOST_PAGES = 200
_LATER = frozenset({408, 425, 429})
_NO_ENTRY = frozenset({401, 403})
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Caller:
    """One target's provider. For one step at a time: `begin` starts its clock."""

    def __init__(self, name: str, recipe: Recipe, admin: Fields) -> None:
        """Raises LesseeError where the admin's secret lacks what the recipe wants of it."""
        missing = ", ".join(sorted(recipe.places("admin") - admin.keys()))
        if missing:
            todo = "write it there" if admin else "name the admin's secret with `admin:`"
            raise LesseeError(f"the recipe wants {missing} of the admin's secret", where=name, todo=todo)
        if recipe.insecure:
            log("warning", "keys may cross the network in the clear", target=name)
        self._name, self._recipe = name, recipe
        self._admin = {f"admin.{key}": value for key, value in admin.items()}
        self._client = Client(insecure=recipe.insecure)
        self._deadline = 0.0

    def begin(self) -> None:
        """From now on `PATIENCE` counts."""
        self._deadline = time.monotonic() + PATIENCE

    def send(
        self,
        name: str,
        fields: Fields,
        values: Mapping[str, Any],
        *,
        also: Collection[int] = (),
        argument: tuple[str, str] | None = None,
    ) -> Answer:
        """The answer to the recipe's request of this name, a success or with one of the statuses `also`.

        `fields`: the secret's. `argument`: one more of the URL's. Raises SystemUnavailableError and SystemRefusedError.
        """
        request = self._recipe.requests[name]
        known = {**self._admin, **{f"secret.{key}": value for key, value in fields.items()}, **values}
        try:
            url = placeholders.in_url(request.url, known)
            headers = {key: placeholders.in_header(text, known) for key, text in request.headers.items()}
            body = placeholders.in_json(request.body, known)
        except placeholders.UnfitError as exc:
            todo = "see the recipe, the secret and the admin's secret"
            raise SystemRefusedError(f"{name}: {exc}", where=self._name, todo=todo) from None
        if argument is not None:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode([argument])}"
        return self._judged(name, self._asked(request.method, url, headers, body), also)

    def proves(self, fields: Fields, keys: Collection[str]) -> bool:
        """Whether the provider lets in with these fields of a secret, of which `keys` are the credential."""
        prove = self._recipe.prove
        assert prove is not None
        if not all(fields.get(key) for key in keys):
            return False
        until = time.monotonic() + prove.settle
        while True:
            self.begin()
            status = self.send("prove", fields, of_key(fields, keys), also=prove.refused).status
            if status not in prove.refused or time.monotonic() >= until:
                return status not in prove.refused
            time.sleep(_PAUSE)

    def listed(self, fields: Fields) -> Iterator[Listed]:
        """All keys that the provider shows; none where the recipe cannot ask. Raises as `send`."""
        listing = self._recipe.list
        if listing is None:
            return
        found, argument = 0, None
        for _ in range(_MOST_PAGES):
            document = self.send("list", fields, {}, argument=argument).document
            page = self.read("list", provider_responses.listed, listing, document)
            yield from page
            found += len(page)
            pages = listing.pages
            after = provider_responses.following(pages, document, found) if page and pages is not None else ""
            if pages is None or not after:
                return
            argument = (pages.argument, after)
        todo = "see `pages` in the recipe, or remove keys that nobody needs"
        raise SystemRefusedError(f"the list has more than {_MOST_PAGES} pages", where=self._name, todo=todo)

    def read(self, name: str, look: Callable[_P, _T], *arguments: _P.args, **settings: _P.kwargs) -> _T:
        """What `look` finds in the answer to a request. Raises SystemRefusedError where it is not what the recipe says."""
        try:
            return look(*arguments, **settings)
        except provider_responses.UnusableError as exc:
            todo = "mend the recipe: see the provider's documentation"
            what = f"the answer to {name} is not as expected: {exc}"
            raise SystemRefusedError(what, where=self._name, todo=todo) from None

    def _asked(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise SystemUnavailableError("the provider takes too long", where=self._name, todo="it is tried again")
        return self._client.ask(method, url, headers, body, timeout=min(left, _LONGEST))

    def _judged(self, name: str, answer: Answer, also: Collection[int]) -> Answer:
        status = answer.status
        if self._recipe.requests[name].succeeds(status) or status in also:
            return answer
        what = f"{name} is answered with status {status}"
        if status >= 500 or status in _LATER:  # noqa: PLR2004  # RFC 9110, 15.6
            raise SystemUnavailableError(what, where=self._name, todo="it is tried again; see how the provider is")
        if status in _NO_ENTRY:
            todo = "see whether the admin's key is valid, and may do that"
        elif 300 <= status < 400:  # noqa: PLR2004  # RFC 9110, 15.4
            todo = "a redirect is not followed, for it would carry the key away: write the new URL into the recipe"
        else:
            todo = "see the provider's documentation, and the recipe"
        raise SystemRefusedError(what, where=self._name, todo=todo)


def of_key(fields: Fields, keys: Collection[str]) -> dict[str, Any]:
    """What the placeholders `{key.…}` stand for."""
    return {f"key.{key}": fields[key] for key in keys if key in fields}
