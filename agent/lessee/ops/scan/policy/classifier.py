"""Whether a value is a secret, public or plain: by its name, by its own form, and by the file that it is in.

It extends what `core.sensitive` says of literals, which `lessee check --compose` and `lessee mcp wrap` use. Their files
have few variables: in a whole project, most names with the word "key" are no secret's.
"""

import base64
import binascii
import re
from enum import Enum
from itertools import pairwise

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.key_formats import KeyFormat, find_keys
from lessee.core.sensitive.literals import is_secret_by_name, is_secret_name
from lessee.core.sensitive.weakness import Weakness, weakness
from lessee.ops.scan.policy.places import Kind, Place
from lessee.ops.scan.policy.randomness import SHORTEST, entropy, is_hex, looks_random


class Verdict(Enum):
    """What a value is."""

    SECRET = "secret"  # noqa: S105
    PUBLIC = "public"
    """Made for every visitor, such as a publishable key."""
    PLAIN = "plain"


class Classification(ImmutableStruct, frozen=True):
    """A verdict, and the rule that it follows from. `is_placeholder`: the author means another value to be here."""

    verdict: Verdict
    rule: str = ""
    detail: str = ""
    """What more is known of it, such as the format of a key."""
    is_placeholder: bool = False

    @property
    def is_finding(self) -> bool:
        """Whether it is a secret that a program uses."""
        return self.verdict is Verdict.SECRET and not self.is_placeholder


PLAIN = Classification(Verdict.PLAIN)
PUBLIC = Classification(Verdict.PUBLIC)


def classify(name: str, value: str, place: Place, *, is_quoted: bool = True) -> Classification:
    """Classify a value by the name of its variable or key, which may be empty, and its file."""
    literal = literal_part(value.strip())
    if not literal or _REFERENCE.match(literal):
        return PLAIN
    if _PUBLIC_VALUE.match(literal):
        return PUBLIC
    for form, begin, end in find_keys(literal):
        if (found := classify_key(form, literal[begin:end], name)) is not PLAIN:
            return found
    for url in URL.finditer(literal):
        if (found := classify_url(url, place)) is not PLAIN:
            return found
    if is_for_browsers(name) and not (is_strong(_BROWSER.sub("", name), place) and looks_random(literal)):
        return PUBLIC if is_secret_name(_BROWSER.sub("", name)) else PLAIN
    if header := _HEADER.fullmatch(literal):
        rule, literal = "authorization", header[1]
        if _REFERENCE.match(literal):
            return PLAIN
        return _secret(rule, literal) if looks_random(literal, _SHORT) or _is_login(literal) else PLAIN
    if _is_named_secret(name, literal, place, is_quoted=is_quoted):
        return _secret("named-secret", literal)
    if not is_secret_name(name) and not _IDENTIFIES.search(name) and _is_random_alone(literal):
        return _secret("random-value", literal)
    return PLAIN


def classify_key(form: KeyFormat, key: str, name: str = "") -> Classification:
    """Classify a key of a known format."""
    if form.for_visitors and (is_for_browsers(name) or _has_anonymous_role(key)):
        return PUBLIC
    if form.name.startswith("a JSON Web Token") and not _is_token(key):
        return PLAIN
    rule = "private-key" if "private key" in form.name else "known-key"
    return Classification(Verdict.SECRET, rule, form.name, _is_example_key(key))


def classify_plugin(kind: str, value: str) -> Classification:
    """Classify a key that another detector has found. `kind`: its name of such keys."""
    return Classification(Verdict.SECRET, "plugin", f"{kind} (detect-secrets)", _is_example_key(value))


def classify_login(value: str, place: Place) -> Classification:
    """Classify what a command or a request presents: a password after a user, or what follows `Bearer`."""
    literal = literal_part(value)
    if not literal or _REFERENCE.match(literal) or (place.is_example and not looks_random(literal, _SHORT)):
        return PLAIN
    is_placeholder = is_placeholder_text(literal) or literal.lower() in _USUAL_EXAMPLES
    return Classification(Verdict.SECRET, "authorization", is_placeholder=is_placeholder)


def classify_url(url: "re.Match[str]", place: Place) -> Classification:
    """Classify a URL with a user and a password."""
    user, password, host = url["user"], literal_part(url["password"]), url["host"].lower()
    if not password or _REFERENCE.match(password) or _FILLED.search(url["password"]):
        return PLAIN
    if _RESERVED_HOST.search(host) and not looks_random(password, _SHORT):
        return Classification(Verdict.SECRET, "password-in-url", is_placeholder=True)
    is_shown = place.kind in {Kind.SOURCE, Kind.TEXT, Kind.GENERATED} or place.is_example
    is_placeholder = (
        is_placeholder_text(password)
        or (is_shown and password.lower() in _USUAL_EXAMPLES | {user.lower()})
        or (place.is_example and weakness("password", password) is not None)
    )
    return Classification(Verdict.SECRET, "password-in-url", is_placeholder=is_placeholder)


def is_for_browsers(name: str) -> bool:
    """Whether a build puts the variable into the page, by its prefix, so that every visitor has it."""
    return _BROWSER.match(name) is not None


def is_strong(name: str, place: Place) -> bool:
    """Whether the name alone makes its value a secret; otherwise the value must look random too."""
    words = _words(name)
    if not is_secret_name(name) or _is_about_secrets(words):
        return False
    if any(_STRONG.fullmatch(word) for word in words):
        return True
    if place.kind in {Kind.ENV, Kind.SHELL} or (place.kind is Kind.CONFIG and name.isupper()):
        return True
    return any(before in _KEYS_OF for before, word in pairwise(words) if word == "KEY")


def is_placeholder_text(value: str) -> bool:
    """Whether the author means another value to be here."""
    return (
        weakness("password", value) in {Weakness.EMPTY, Weakness.PLACEHOLDER}
        or (weakness("password", value) is Weakness.MONOTONOUS and len(value) > _MONOTONOUS)
        or _EXAMPLE.search(value) is not None
    )


def literal_part(value: str) -> str:
    """What a value contains of itself: of `${NAME:-value}` the default, nothing of `${NAME}` or `$NAME`."""
    if default := _DEFAULT.fullmatch(value):
        return default[1].strip("'\"")
    return "" if _VARIABLE.fullmatch(value) else value


def _secret(rule: str, value: str) -> Classification:
    return Classification(Verdict.SECRET, rule, is_placeholder=is_placeholder_text(value))


def _is_named_secret(name: str, value: str, place: Place, *, is_quoted: bool) -> bool:
    is_long_number = value.isdecimal() and len(value) >= _SHORT and is_secret_name(name)
    if not (is_secret_by_name(name, value) or is_long_number) or _NO_SECRET.match(value) or len(value) < _LEAST:
        return False
    strong = is_strong(name, place)
    if _TEMPLATE.search(value) and place.kind is not Kind.ENV:
        return False
    if place.is_example or not strong:
        return not _is_about_secrets(_words(name)) and looks_random(value, _SHORT if strong else SHORTEST)
    if not any(map(str.isalnum, value)) or (not is_quoted and place.kind is not Kind.ENV and _CODE.match(value)):
        return False
    if any(map(str.isspace, value)):
        is_password = _PASSWORD.fullmatch(_words(name)[-1]) is not None or place.kind is not Kind.SOURCE
        is_phrase = is_password and value.count(" ") <= _MOST_SPACES
        return is_phrase and (place.kind is Kind.ENV or _PROSE.search(value) is None)
    if place.kind in {Kind.ENV, Kind.SHELL} or (place.kind is Kind.CONFIG and name.isupper()):
        return True
    if not _IDENTIFIER.fullmatch(value):
        return True
    if _TYPE.fullmatch(value):
        return False
    # In a program or a table, `password: "user_password"` is the name of a field, and `token: "word"` a word.
    is_field = _OF_NAMES.issuperset(word.upper() for word in _WORDS.findall(value))
    return not is_field and (place.kind is Kind.CONFIG or _PASSWORD.fullmatch(_words(name)[-1]) is not None)


def _is_about_secrets(words: list[str]) -> bool:
    """Whether the words of a name say something about a secret, or belong to another kind of key."""
    counts = words[0] in _COUNTS and words[:2] != ["NEXT", "PRIVATE"]
    return counts or words[-1] in _ABOUT or not _NOT_KEYS.isdisjoint(words)


def _is_random_alone(value: str) -> bool:
    """Whether nothing but a random choice explains the value, whose name says nothing."""
    return not is_hex(value) and looks_random(value, _LONG) and _PATH.search(value) is None


def _is_login(value: str) -> bool:
    """Whether it is `user:password` in base64."""
    try:
        return b":" in base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False


def _is_token(text: str) -> bool:
    """Whether a text of the form of a JSON Web Token is one: its header names an algorithm (RFC 7515)."""
    return b'"alg"' in _decoded(text.partition(".")[0])


def _has_anonymous_role(token: str) -> bool:
    """Whether a JSON Web Token is for visitors who are not logged in, as Supabase's."""
    return b'"role":"anon"' in _decoded((*token.split("."), "")[1])


def _decoded(part: str) -> bytes:
    """A part of a JSON Web Token without its spaces; nothing if it is not valid."""
    try:
        return base64.urlsafe_b64decode(f"{part}{'=' * (-len(part) % 4)}").replace(b" ", b"")
    except (binascii.Error, ValueError):
        return b""


def _is_example_key(key: str) -> bool:
    is_shown = _EXAMPLE.search(key) is not None or _SAMPLE_TOKEN.match(key) is not None
    return is_shown or ("PRIVATE KEY" not in key and entropy(key) < _LEAST_ENTROPY_OF_KEY)


def _words(name: str) -> list[str]:
    return [word.upper() for word in _WORDS.findall(name)] or [""]


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SHORT = 12
"""Characters of a random value whose name is a secret's."""
_LONG = 24
"""Characters of a random value whose name says nothing."""
_LEAST = 2
_MONOTONOUS = 4
_LEAST_ENTROPY_OF_KEY = 2.6
_MOST_SPACES = 5
_STRONG = re.compile(
    r"PASSPHRASE|PASS|REQUIREPASS|PWD|[A-Z]{0,8}PW|CREDENTIALS?|PAT|AUTHORIZATION|SECRETS"
    r"|\w*(?:APIKEY|TOKEN|SECRETE?|PASSWORD|PASSWD)"
)
_PASSWORD = re.compile(r"PASSPHRASE|PASS|REQUIREPASS|PWD|[A-Z]{0,8}PW|\w*(?:PASSWORD|PASSWD)")
_KEYS_OF = frozenset(
    """
    API APP ACCESS SECRET PRIVATE ENCRYPTION ENCRYPT SIGNING SIGN SIGNATURE MASTER AUTH SERVICE ACCOUNT JWT
    ADMIN SESSION SHARED STORAGE WEBHOOK LICENSE SUBSCRIPTION FUNCTION ROLE HMAC COOKIE DEPLOY SSH WRITE CLIENT
    INTEGRATION
    """.split()  # noqa: SIM905
)
"""The words before KEY that make it a secret's, in files where a key is mostly a name in a table."""
_NOT_KEYS = frozenset(
    """
    PRIMARY FOREIGN PARTITION SORT CACHE BUCKET HOT NATURAL SCHEMA SEQUENCE IDX INDEX ROUTING OBJECT KEYBOARD
    CSRF XSRF PUB ISSUER ANON
    """.split()  # noqa: SIM905
)
_ABOUT = frozenset(
    """
    FIELD LABEL HEADER PARAM PARAMS KEYS TEXT TITLE MESSAGE ERROR HINT PLACEHOLDER REGEX PATTERN ALIAS STORE
    INPUT FORM BUTTON CLASS SELECTOR ENV VAR VARIABLE REQUIRED POLICY STRENGTH RESET EXPIRE EXPIRES EXPIRATION
    LIFETIME AGE INTERVAL TIMEOUT SERVER MANAGER USAGE ROTATION SOURCE ARN KID HOLDER PAIR ACCESSOR CODE EVENT
    DOWN UP LEFT RIGHT VAULT ENGINE BACKEND SEPARATOR DELIMITER ROUNDS ITERATIONS COST BITS CLAIM AUDIENCE
    LOCATION OPTIONS HANDLER PRESSED FRAME MESSAGES STATE STATUS FIELDS SAMESITE POLICIES IDS STREAM LANGUAGE DOMAIN
    """.split()  # noqa: SIM905
)
"""The last words of names that say something about a secret, in addition to those of `core.sensitive.literals`."""
_COUNTS = frozenset("MAX MIN NUM NUMBER USE ENABLE DISABLE HAS IS NEXT PREV SHOW HIDE ALLOW".split())  # noqa: SIM905
_BROWSER = re.compile(r"^(?:NEXT_PUBLIC|NUXT_PUBLIC|VITE|REACT_APP|GATSBY|EXPO_PUBLIC|VUE_APP|PUBLIC|STORYBOOK)_")
_IDENTIFIES = re.compile(
    r"(?:^|[_.-]|(?<=[a-z]))(?:id|ids|uid|uuid|guid|sha\d*|hash|md5|digest|checksum|integrity|commit|rev"
    r"|revision|etag|version"
    r"|image|resolved|url|uri|href|src|path|nonce|fingerprint|thumbprint|cid|address|charset|alphabet|chars"
    r"|pubkey|iv|tag|mac|https?)$"
    r"|public|(?<=[a-z])Id$",
    re.IGNORECASE,
)
"""The names of random values that identify something, or check it."""
_VARIABLE = re.compile(r"(?:\$\{[^{}]*\}|\$[A-Za-z_]\w*|\$\([^()]*\)|\$\d|%\w+%)+", re.ASCII)
_DEFAULT = re.compile(r"\$\{\w+:?-([^{}$]*)\}", re.ASCII)
_REFERENCE = re.compile(
    r"%[sdr]$|%\(|\$\{|\$\(|\$\{\{|\{\{|\{%|<%|%\(|\$[A-Za-z_]\w*$|<[^<>]*>$|ref\+|vault:|op://|arn:|ENC\["
    r"|secret://|ssm:|sm://|awssm:"
    r"|!vault|!Ref|!Sub|#\{|@Microsoft|projects/[\w-]+/secrets/|process\.env|os\.(?:environ|getenv)|env\(|getenv"
    r"|\{[a-zA-Z_]\w*\}"
    r"|data:\w+/|sha(?:1|256|384|512)[:-]|file:|env:|env\.|System\.getenv|import\.meta",
)
"""A reference to a value in another place, or an encrypted value."""
_FILLED = re.compile(r"\{[^{}]*\}|\$\w|\$\(|%[sdr(]|<")
"""A part of a URL that a program fills in."""
_PUBLIC_VALUE = re.compile(
    r"pk_(?:live|test|prod)_|ssh-(?:rsa|ed25519|dss) |ecdsa-sha2|age1[0-9a-z]{50}|sb_publishable_|phc_"
    r"|-----BEGIN (?:PUBLIC|CERT)"
    r"|https://[0-9a-f]{32}@[\w.-]*(?:sentry|glitchtip)"
)
"""Publishable keys, public keys, and the addresses to which browsers report errors."""
URL = re.compile(
    r"\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{1,30})://(?P<user>[^\s/?#@:\"'`<>$\\]{0,80}):"
    r"(?P<password>(?>\$\{[^{}\s]{1,120}\}|[^\s/?#@\"'`<>\\]){1,200})@(?P<host>[^\s/?#@\"'`,:;)]{1,120})",
    re.ASCII,
)
_RESERVED_HOST = re.compile(
    r"(?:^|\.)(?:example\.(?:com|org|net)|[\w-]+\.(?:example|invalid|test))$|^(?:host|hostname|server)$"
)
"""The names that RFC 2606 reserves for examples."""
_USUAL_EXAMPLES = frozenset(
    """
    pass password passwd pwd passw0rd secret token user username pw p mypassword yourpassword test admin foo bar
    baz 123 1234 postgres root guest x
    """.split()  # noqa: SIM905
)
_HEADER = re.compile(r"(?:Authorization:\s*)?(?:Bearer|Basic|Token)\s+(\S{8,})", re.IGNORECASE)
_EXAMPLE = re.compile(
    r"example|placeholder|change[-_ ]?(?:me|this|it)|replace[-_ ]?(?:me|this|with)|your[-_ ]?(?:own|secret|token"
    r"|key|api|pass|real|app"
    r"|strong|jwt|super|random|client|access|db|generated|smtp|very|secure|long|\w{1,60}_here)|insert[-_ ]|<[^<>]+>"
    r"|x{6,}|\*{3,}|\.{4,}"
    r"|redacted|dummy|fake[-_ ]?(?:key|token|secret|pass)|\bfake|generate[-_ ](?:a|with|one|me|your)|must[-_ ]be"
    r"|openssl rand|lorem|[_-]here\b",
    re.IGNORECASE,
)
_SAMPLE_TOKEN = re.compile(r"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9\.eyJzdWIiOiIxMjM0NTY3ODkwI")
"""The token that jwt.io shows."""
_TEMPLATE = re.compile(r"\{[A-Za-z_][\w.]{2,}\}")
"""A part that a program fills in."""
_NO_SECRET = re.compile(
    r"[a-z][a-z_-]*(?:/[a-z_-]+)+$|https?://[^\s@]*$|%[\w.]+%/"
    r"|[\w./-]+\.(?:pem|key|crt|cer|json|ya?ml|txt|jks|p12|pfx|pub|env|conf|ini|toml|py|js|ts|go|sh)$",
    re.ASCII,
)
"""Paths in Vault, addresses without a password, and files."""
_TYPE = re.compile(
    r"(?:str|string|int|integer|number|bool|boolean|object|array|bytes|text|null|none|undefined|optional|required"
    r"|secret\w*|password|token|bearer|basic|oauth2?|plain|read|write|aes|hs256|rs256|env)",
    re.ASCII,
)
"""What a table says of a field that has a secret's name."""
_CODE = re.compile(
    r"[A-Za-z_$][\w$]*(?:(?:\.|->|::)[A-Za-z_$][\w$]*)+[;,)]*$|[A-Za-z_$][\w.$]*[\[(]|[&*!]"
    r"|[a-z]+(?:[A-Z][a-z]*)+[;,)]*$|[|>][-+]?$|[\[{(]",
    re.ASCII,
)
"""Expressions of programs and YAML, which are no literals."""
_PROSE = re.compile(
    r"^(?-i:[A-Z])[a-z]+ |[.:!?]$|\b(?:password|secret|token|key|the|is|must|your|enter|for|not|an?|or|to|of)\b",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z_.:-]*", re.ASCII)
_PATH = re.compile(r"^/|//|\.[A-Za-z]{2,4}(?:$|/)|/.*/.*/|^(?>[\w-]*-(?!\w)|[\w-])(?>\w*?[._~-]\w){3}(?:[.~-]?\w)*+$")
"""Paths, host names, and names in several parts."""
_OF_NAMES = frozenset(
    """
    PASS PASSWORD PASSWD PWD SECRET SECRETS TOKEN KEY API APIKEY AUTH ACCESS USER USERNAME NAME CLIENT ID DB
    DATABASE ROOT ADMIN NEW OLD CURRENT CONFIRM REPEAT MY APP REFRESH BEARER BASIC COOKIE HEADER CREDENTIAL
    CREDENTIALS PRIVATE PUBLIC SESSION RESET X HASH CSRF JWT AUTHORIZATION LOGIN ACCOUNT SERVICE MASTER FIELD
    VALUE TYPE INPUT STRING TEXT
    """.split()  # noqa: SIM905
)
