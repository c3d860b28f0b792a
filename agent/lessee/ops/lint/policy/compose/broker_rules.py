"""Notes which services have a key that a broker could hold for them."""

import re
from collections.abc import Callable, Iterator, Mapping

from lessee.core.immutable import ImmutableStruct
from lessee.ops.lint.policy.compose.model import Place, Service
from lessee.ops.lint.policy.compose.shadowed_variables import rendered_variables, set_variables
from lessee.ops.lint.policy.compose.stack import Stack, is_holder
from lessee.ops.lint.policy.findings import Finding
from lessee.ops.lint.policy.signals import names_in
from lessee.ops.lint.policy.templates import TemplateOutput

_PAGE = "docs/how-to/brokers.md"
_PGBOUNCER = "pgbouncer"
_CONFIGURATION = "/etc/lessee"
_FILE = re.compile(r"api-([a-z0-9]+)\.nginx\.conf")
"""The file of an API, as templates/broker writes it."""
_PORT = 8080
_LOGIN = re.compile(r"postgres(?:ql)?(?:\+\w+)?://[^\s/@:]*:[^\s/@]+@(?P<host>[^\s/:?]*)", re.IGNORECASE)
_PASSWORDS = frozenset({"PGPASSWORD", "POSTGRES_PASSWORD"})
_STORE = "postgres"


class _Api(ImmutableStruct, frozen=True):
    """An API of templates/broker."""

    title: str
    keys: tuple[str, ...]
    """The variables in which apps have its key."""
    bases: tuple[str, ...]
    """The variables that lead an app to a broker; the first is the usual one."""
    path: str
    """The path of the API at the broker."""


_APIS: Mapping[str, _Api] = {
    "openai": _Api("OpenAI", ("OPENAI_API_KEY",), ("OPENAI_BASE_URL", "OPENAI_API_BASE"), "/openai/v1"),
    "anthropic": _Api("Anthropic", ("ANTHROPIC_API_KEY",), ("ANTHROPIC_BASE_URL",), "/anthropic"),
    "openrouter": _Api(
        "OpenRouter",
        ("OPENROUTER_API_KEY",),
        ("OPENAI_BASE_URL", "OPENROUTER_BASE_URL", "OPENROUTER_API_BASE"),
        "/openrouter/api/v1",
    ),
    "brave": _Api(
        "Brave Search", ("BRAVE_API_KEY", "BRAVE_SEARCH_API_KEY"), ("BRAVE_BASE_URL", "BRAVE_API_URL"), "/brave/res/v1"
    ),
    "github": _Api(
        "GitHub", ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_PERSONAL_ACCESS_TOKEN"), ("GITHUB_API_URL",), "/github"
    ),
}


def broker_notes(
    stack: Stack, texts: Mapping[TemplateOutput, str], load: Callable[[str], str | None]
) -> Iterator[Finding]:
    """A note for each such service and key. `load` returns the text of an `env_file` if it exists."""
    brokers = dict(_nginx_brokers(stack, texts))
    poolers = tuple(service for service in stack.services.values() if _is_pooler(service))
    has_database = any(map(_is_postgresql, stack.services.values()))
    for service in stack.services.values():
        if service in stack.agents or is_holder(service) or service in poolers or service.name in brokers.values():
            continue
        places = _places(stack, texts, service, load)
        for name, api in _APIS.items():
            key = next((key for key in api.keys if key in places), None)
            if key is not None and places.keys().isdisjoint(api.bases):
                yield _of_api(service, key, places[key], api, brokers.get(name))
        if (poolers or has_database) and not _is_store(service):
            yield from _of_password(service, places, poolers[0] if poolers else None)


def _nginx_brokers(stack: Stack, texts: Mapping[TemplateOutput, str]) -> Iterator[tuple[str, str]]:
    """Each API with the service that holds its key."""
    for output in texts:
        if (file := _FILE.fullmatch(output.name)) is not None:
            for service in stack.readers(stack.config.apps[output.app]):
                yield file[1], service.name


def _is_pooler(service: Service) -> bool:
    return _PGBOUNCER in (service.image or "") or _PGBOUNCER in names_in(service.words)


def _is_store(service: Service) -> bool:
    """PostgreSQL itself, or a command of lessee that is no agent, such as `lessee setup`."""
    is_lessee = any(f"{mount.target}/".startswith(f"{_CONFIGURATION}/") for mount in service.mounts)
    return is_lessee or _is_postgresql(service)


def _is_postgresql(service: Service) -> bool:
    return _STORE in (service.image or "")


def _places(
    stack: Stack, texts: Mapping[TemplateOutput, str], service: Service, load: Callable[[str], str | None]
) -> Mapping[str, Place]:
    """The variables that the service has, each with the place to name."""
    rendered = {
        name: service.place
        for app in stack.config.apps.values()
        if service in stack.readers(app)
        for name in rendered_variables(app.name, texts)
    }
    return rendered | {item.name: item.place for item in set_variables(service, service.env_files, load)}


def _of_api(service: Service, key: str, place: Place, api: _Api, broker: str | None) -> Finding:
    what = f"service {service.name} has {key}, and a broker could hold this key of {api.title} for it"
    todo = f"see {_PAGE}"
    if broker is not None:
        what = f"service {service.name} has {key}, although service {broker} holds a key of {api.title} for others"
        todo = f"write {api.bases[0]}=http://{broker}:{_PORT}{api.path}, and give it a token of the broker as {key}"
    return Finding("broker-possible", "note", what, todo, place.file, place.line)


def _of_password(service: Service, places: Mapping[str, Place], pooler: Service | None) -> Iterator[Finding]:
    names = {name for name in places if name in _PASSWORDS}
    for name, variable in service.environment.items():
        login = _LOGIN.match(variable.value or "")
        if login is not None and (pooler is None or login["host"] != pooler.name):
            names.add(name)
    for name in sorted(names):
        what = f"service {service.name} has {name}, and PgBouncer could hold this password for it"
        todo = f"see {_PAGE}"
        if pooler is not None:
            what = f"service {service.name} has {name}, although service {pooler.name} could hold this password for it"
            todo = "let it connect to the socket of PgBouncer, without a password"
        yield Finding("broker-possible", "note", what, todo, places[name].file, places[name].line)
