"""Sends the requests of a recipe, and checks the responses."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlencode

from lessee.core.errors import LesseeError
from lessee.ops.rotate.http import Answer, Client
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy import placeholders, provider_responses
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.rotate.policy.provider_responses import ListedKey
from lessee.ops.rotate.policy.recipes import Recipe
from lessee.telemetry.logs import log

STEP_TIMEOUT = 20.0
"""Seconds that all requests of one step may take together."""
_REQUEST_TIMEOUT = 10.0
_RETRY_DELAY = 0.25
_MAX_PAGES = 200
_TEMPORARY = frozenset({408, 425, 429})
_DENIED = frozenset({401, 403})
_P = ParamSpec("_P")
_T = TypeVar("_T")


class RecipeClient:
    """The client of one target's provider. `begin` starts the timeout of a step."""

    def __init__(self, name: str, recipe: Recipe, admin: Fields) -> None:
        """Raises LesseeError where the admin's secret lacks a key that the recipe uses."""
        missing = ", ".join(sorted(recipe.keys_of("admin") - admin.keys()))
        if missing:
            todo = "write it there" if admin else "set `admin_secret`"
            raise LesseeError(f"the recipe uses {missing} of the admin's secret, which lacks it", where=name, todo=todo)
        if recipe.insecure:
            log("warning", "recipe allows requests without TLS", target=name)
        self._name, self._recipe = name, recipe
        self._admin = {f"admin.{key}": value for key, value in admin.items()}
        self._client = Client(insecure=recipe.insecure)
        self._deadline = 0.0

    def begin(self) -> None:
        """Start the timeout of a step."""
        self._deadline = time.monotonic() + STEP_TIMEOUT

    def send(
        self,
        name: str,
        fields: Fields,
        values: Mapping[str, Any],
        *,
        also: Collection[int] = (),
        parameter: tuple[str, str] | None = None,
    ) -> Answer:
        """The response to the recipe's request of this name: a success, or one with a status in `also`.

        `fields`: of the secret. `parameter`: an additional query parameter. Raises SystemUnavailableError and
        SystemRefusedError.
        """
        request = self._recipe.requests[name]
        known = {**self._admin, **{f"secret.{key}": value for key, value in fields.items()}, **values}
        try:
            url = placeholders.in_url(request.url, known)
            headers = {key: placeholders.in_header(text, known) for key, text in request.headers.items()}
            body = placeholders.in_json(request.body, known)
        except placeholders.PlaceholderError as exc:
            todo = "correct the recipe, the secret or the admin's secret"
            raise SystemRefusedError(f"{name}: {exc}", where=self._name, todo=todo) from None
        if parameter is not None:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode([parameter])}"
        return self._checked(name, self._response(request.method, url, headers, body), also)

    def verify(self, fields: Fields, keys: Collection[str]) -> bool:
        """Whether the provider accepts these fields of a secret, in which `keys` are the credential.

        A single key is `{key.api_key}` too, as lessee's recipes call it.
        """
        verify = self._recipe.verify
        assert verify is not None
        if not all(fields.get(key) for key in keys):
            return False
        until = time.monotonic() + verify.propagation_delay
        while True:
            self.begin()
            is_accepted = self.accepts(fields, keys)
            if is_accepted or time.monotonic() >= until:
                return is_accepted
            time.sleep(_RETRY_DELAY)

    def accepts(self, fields: Fields, keys: Collection[str]) -> bool:
        """Whether the provider accepts these fields now, by one request of the step."""
        verify = self._recipe.verify
        assert verify is not None
        values = key_values(fields, keys)
        if len(values) == 1:
            values = {"key.api_key": next(iter(values.values())), **values}
        rejected = verify.rejected_status
        return self.send("verify", fields, values, also=rejected).status not in rejected

    def keys(self, fields: Fields) -> Iterator[ListedKey]:
        """The provider's keys; none where the recipe cannot list them. Raises the errors of `send`."""
        listing = self._recipe.list
        if listing is None:
            return
        count, parameter = 0, None
        for _ in range(_MAX_PAGES):
            document = self.send("list", fields, {}, parameter=parameter).document
            page = self.read("list", provider_responses.listed_keys, listing, document)
            yield from page
            count += len(page)
            pagination = listing.pagination
            if not page or pagination is None:
                return
            cursor = provider_responses.next_cursor(pagination, document, count)
            if not cursor:
                return
            parameter = (pagination.parameter, cursor)
        todo = "correct `pagination` in the recipe, or delete keys that are not used"
        raise SystemRefusedError(f"the list has more than {_MAX_PAGES} pages", where=self._name, todo=todo)

    def read(self, name: str, parse: Callable[_P, _T], *arguments: _P.args, **settings: _P.kwargs) -> _T:
        """What `parse` finds in a response. Raises SystemRefusedError where it does not match the recipe."""
        try:
            return parse(*arguments, **settings)
        except provider_responses.UnexpectedResponseError as exc:
            todo = "correct the recipe: see the provider's documentation"
            what = f"unexpected response to `{name}`: {exc}"
            raise SystemRefusedError(what, where=self._name, todo=todo) from None

    def _response(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
        left = self._deadline - time.monotonic()
        if left <= 0:
            what = f"no response from the provider within {STEP_TIMEOUT:g} s"
            raise SystemUnavailableError(what, where=self._name, todo="lessee retries it")
        return self._client.ask(method, url, headers, body, timeout=min(left, _REQUEST_TIMEOUT))

    def _checked(self, name: str, answer: Answer, also: Collection[int]) -> Answer:
        status = answer.status
        if self._recipe.requests[name].succeeds(status) or status in also:
            return answer
        what = f"the provider answers `{name}` with status {status}"
        if status >= 500 or status in _TEMPORARY:  # noqa: PLR2004  # RFC 9110, 15.6
            raise SystemUnavailableError(
                what, where=self._name, todo="lessee retries it; see the provider's status page"
            )
        if status in _DENIED:
            todo = "check that the admin's key is valid, and has the permission"
        elif 300 <= status < 400:  # noqa: PLR2004  # RFC 9110, 15.4
            todo = "write the new URL into the recipe: a redirect would send the key elsewhere, and is not followed"
        else:
            todo = "correct the recipe: see the provider's documentation"
        raise SystemRefusedError(what, where=self._name, todo=todo)


def key_values(fields: Fields, keys: Collection[str]) -> dict[str, Any]:
    """The values of the placeholders `{key.…}`."""
    return {f"key.{key}": fields[key] for key in keys if key in fields}
