"""Environments created by `lessee setup`, and requests from one that try to reach another."""

import http.client
import itertools
import json
from typing import NamedTuple
from urllib.parse import urlsplit

from support.environments.setup_namespace import COMPONENTS, ENVIRONMENTS

ROLES = (*COMPONENTS, "web")
"""The components of the access matrix, and the app's own policy."""
PAIRS = tuple(itertools.permutations(ENVIRONMENTS, 2))
TEMPLATE = (
    'PASSWORD={{ secret("database/postgres").password }}\n'
    'KEYS={{ secrets("api-keys/") | join(",") }}\n'
    'SHARED={{ secret("shared/all").value }}\n'
    'NAME={{ certificate("{environment}/pki/issue/web", common_name="a.simba.local").serial_number }}\n'
)
_MERGE = {"Content-Type": "application/merge-patch+json"}
_REDIRECTS = {301, 302, 307, 308}


class Attempt(NamedTuple):
    """A request, sent unchanged. `form`: how it names the other environment's path."""

    form: str
    method: str
    path: str
    body: object = None


class Answer(NamedTuple):
    """The response, after all redirects."""

    status: int
    text: str


def prepare(ground, memory):
    """Three environments, each with an app, a certificate authority and distinct values."""
    (ground.disk / "web.env.j2").write_text(TEMPLATE)
    app = {"directory": str(memory / "web"), "files": [{"template": "web.env.j2"}]}
    ground.config |= {
        "state_dir": str(memory / "state"),
        "secrets": {"shared_prefixes": ["shared/"]},
        "apps": {"web": app},
    }
    roles = {"web": {"allowed_domains": ["simba.local"], "allow_subdomains": True}}
    ground.wanted["pki"] = {"common_name": "{environment} root", "roles": roles}
    ground.run("--output", "out")
    ground.ask("POST", "secret/data/shared/all", {"data": {"value": "of all"}})
    for environment in ENVIRONMENTS:
        write(ground, environment)
    return ground


def write(ground, environment):
    """Create an environment's secrets again, each with one version."""
    for path in ("database/postgres", "api-keys/openrouter"):
        ground.ask("DELETE", f"secret/metadata/{environment}/{path}")
        data = {"password": canary(environment), "api_key": canary(environment)}
        ground.ask("POST", f"secret/data/{environment}/{path}", {"data": data})


def canary(environment):
    """A value that only this environment's secrets contain."""
    return f"canary-of-{environment}-5e21"


def plain(other):
    """Requests that name the other environment directly; a token with all capabilities there may make all of them."""
    place = f"{other}/database"
    yield Attempt("data", "GET", f"secret/data/{place}/postgres")
    yield Attempt("data of a version", "GET", f"secret/data/{place}/postgres?version=1")
    yield Attempt("metadata", "GET", f"secret/metadata/{place}/postgres")
    yield Attempt("list", "LIST", f"secret/metadata/{place}/")
    yield Attempt("list by GET", "GET", f"secret/metadata/{place}?list=true")
    yield Attempt("list with versions", "LIST", f"secret/detailed-metadata/{place}/")
    yield Attempt("create", "POST", f"secret/data/{place}/new", {"data": {"value": 1}})
    yield Attempt("update", "PUT", f"secret/data/{place}/postgres", {"data": {"value": 1}})
    yield Attempt("patch", "PATCH", f"secret/data/{place}/postgres", {"data": {"value": 1}})
    yield Attempt("settings", "POST", f"secret/metadata/{place}/postgres", {"max_versions": 1})
    yield Attempt("delete", "DELETE", f"secret/data/{place}/postgres")
    yield Attempt("delete a version", "POST", f"secret/delete/{place}/postgres", {"versions": [1]})
    yield Attempt("undelete", "POST", f"secret/undelete/{place}/postgres", {"versions": [1]})
    yield Attempt("destroy", "PUT", f"secret/destroy/{place}/new", {"versions": [1]})
    yield Attempt("delete all", "DELETE", f"secret/metadata/{place}/new")


def neighbors(other):
    """Requests for other objects of the environment, or of all of them, which no component may access."""
    yield Attempt("the mount's list", "LIST", "secret/metadata/")
    yield Attempt("the record of setup", "GET", "secret/data/lessee/setup")
    yield Attempt("a certificate", "POST", f"{other}/pki/issue/web", {"common_name": "a.simba.local"})
    yield Attempt("certificates' list", "LIST", f"{other}/pki/certs/")
    for role in ROLES:
        yield Attempt("a policy", "GET", f"sys/policies/acl/{other}-{role}")
        yield Attempt("a role_id", "GET", f"auth/approle/role/{other}-{role}/role-id")
        yield Attempt("a secret_id", "POST", f"auth/approle/role/{other}-{role}/secret-id", {})
        yield Attempt("a token", "POST", "auth/token/create", {"policies": [f"{other}-{role}"]})


def tricks(own, other):
    """Requests that start in the own environment, or disguise the name of the other."""
    letter = f"%{ord(other[0]):02x}{other[1:]}"
    rest = "database/postgres"
    for kind in ("data", "metadata"):
        for form, path in {
            "+ for the environment": f"{kind}/+/{rest}",
            "+ in the environment": f"{kind}/{other[:-1]}+/{rest}",
            "+ below one's own": f"{kind}/{own}/+/{other}/{rest}",
            "* for the environment": f"{kind}/*",
            "* for its end": f"{kind}/{other[:3]}*",
            "* and a path": f"{kind}/*/{rest}",
            "..": f"{kind}/{own}/../{other}/{rest}",
            ".. deeper": f"{kind}/{own}/database/../../{other}/{rest}",
            ".. over the kind": f"{kind}/{own}/../../{kind}/{other}/{rest}",
            ".. over the mount": f"{kind}/{own}/../../../secret/{kind}/{other}/{rest}",
            "%2e%2e": f"{kind}/{own}/%2e%2e/{other}/{rest}",
            "%2E%2E%2F": f"{kind}/{own}/%2E%2E%2F{other}/{rest}",
            "%252e%252e": f"{kind}/{own}/%252e%252e/{other}/{rest}",
            "..%2f": f"{kind}/{own}/..%2f{other}%2f{rest.replace('/', '%2f')}",
            "..%5c": f"{kind}/{own}/..%5c{other}/{rest}",
            "..;": f"{kind}/{own}/..;/{other}/{rest}",
            ".": f"{kind}/./{other}/{rest}",
            "%2e": f"{kind}/%2e/{other}/{rest}",
            "// before": f"{kind}//{other}/{rest}",
            "// after": f"{kind}/{other}//{rest}",
            "// below one's own": f"{kind}/{own}//{other}/{rest}",
            "%2f before": f"{kind}/%2f{other}/{rest}",
            "%2f for /": f"{kind}%2f{other}%2f{rest.replace('/', '%2f')}",
            "a letter encoded": f"{kind}/{letter}/{rest}",
            "a letter encoded, behind ..": f"{kind}/{own}/../{letter}/{rest}",
            "capitals": f"{kind}/{other.upper()}/{rest}",
            "a NUL": f"{kind}/{own}%00/../{other}/{rest}",
            "a newline": f"{kind}/{own}%0a/../{other}/{rest}",
            "a fragment": f"{kind}/{other}/{rest}%23{own}",
            "a query": f"{kind}/{other}/{rest}?{own}/x",
            "a blank": f"{kind}/%20{other}/{rest}",
            "a slash at the end": f"{kind}/{other}/{rest}/",
        }.items():
            yield Attempt(f"{form} ({kind})", "GET", f"secret/{path}")
    for form, path in {
        "..": f"{own}/../{other}/",
        "%2e%2e": f"{own}/%2e%2e/{other}/",
        "+": "+/",
        "*": "*/",
        "//": f"/{other}/",
        "a beginning": f"{own[:2]}",
    }.items():
        yield Attempt(f"{form} (list)", "LIST", f"secret/metadata/{path}")
        yield Attempt(f"{form} (list with versions)", "LIST", f"secret/detailed-metadata/{path}")
    body = {"data": {"value": "from elsewhere"}}
    for form, path in {"..": f"{own}/../{other}", "%2e%2e": f"{own}/%2e%2e/{other}", "//": f"/{other}"}.items():
        yield Attempt(f"{form} (write)", "POST", f"secret/data/{path}/{rest}", body)
        yield Attempt(f"{form} (delete)", "DELETE", f"secret/metadata/{path}/{rest}")


class Wire:
    """A connection to the server that sends paths unchanged, without normalization by a client."""

    def __init__(self, ground):
        self._ground = ground
        self._connection = http.client.HTTPConnection("127.0.0.1", ground.bao.port, timeout=10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def send(self, token, attempt):
        """Send a request, and follow redirects with the token as a client would."""
        target = f"/v1/{attempt.path}"
        headers = {"X-Vault-Token": token, "X-Vault-Namespace": self._ground.name}
        if attempt.method == "PATCH":
            headers |= _MERGE
        body = None if attempt.body is None else json.dumps(attempt.body)
        for _ in range(4):
            self._connection.request(attempt.method, target, body, headers)
            response = self._connection.getresponse()
            text = response.read().decode(errors="replace")
            if response.status not in _REDIRECTS:
                break
            where = urlsplit(response.headers["Location"])
            target = where.path + (f"?{where.query}" if where.query else "")
        return Answer(response.status, text)


def is_allowed(answer, other):
    """Whether it got data of the other environment, or passed the policy on a path of the other."""
    return answer.status < 300 or canary(other) in answer.text
