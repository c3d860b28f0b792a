"""Values that stand in a Compose file and look like secrets."""

import re

_NAME = re.compile(
    r".*(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|APIKEY|CREDENTIALS?|SECRET_KEY_BASE"
    r"|(?<!PUBLIC)(?<!PUBLISHABLE)_KEY)[0-9]*|KEY",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"[A-Z][A-Z0-9+.-]*://[^\s/@:]*:(?P<password>[^\s/@]+)@", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{\w+(?:(?P<operator>:?[-?+])(?P<other>[^{}]*))?\}|\w+)")
_ELSEWHERE = "\0"
"""What stands for a variable, whose value is not in the file."""
_NO_VALUES = frozenset({"", "true", "false", "yes", "no", "on", "off"})
_PATHS = ("/", "./", "../")


def looks_secret(name: str, value: str) -> bool:
    """Whether a value that is spelled out is a secret by its variable's name, or a URL with a password in it."""
    spelled = _VARIABLE.sub(_spelled, value.replace("$$", "\1"))
    login = _LOGIN.search(spelled)
    if login is not None:
        return _ELSEWHERE not in login["password"]
    if _ELSEWHERE in spelled or spelled.lower() in _NO_VALUES or spelled.startswith(_PATHS):
        return False
    return _NAME.fullmatch(name) is not None


def _spelled(variable: re.Match[str]) -> str:
    """A variable's default stands in the file."""
    is_default = (variable["operator"] or "").endswith("-")
    return variable["other"] if is_default and variable["other"] else _ELSEWHERE
