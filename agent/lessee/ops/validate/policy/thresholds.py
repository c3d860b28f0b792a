"""How bad a figure is: what ends soon, clocks apart, and what is nearly used up."""

from lessee.ops.validate.policy.results import Result, Teller

DAY = 86400.0
_SOON, _NOW = 14 * DAY, 2 * DAY
_SKEW, _FAR = 5.0, 60.0
_FEW, _LAST = 0.1, 0.02
_SHORTEST = 20.0


def expiry(tell: Teller, check: str, what: str, left: float, todo: str) -> Result:
    """Of something that is valid for `left` more seconds: under 14 days are a warning, under 2 critical."""
    if left <= 0:
        return tell.critical(check, f"{what} ended {spell(-left)} ago", todo)
    text = f"{what} is valid for {spell(left)} more"
    if left < _NOW:
        return tell.critical(check, text, todo)
    return tell.warning(check, text, todo) if left < _SOON else tell.passed(check, text)


def skew(tell: Teller, check: str, whose: str, seconds: float) -> Result:
    """Of a clock that is so far from ours: over 5 s are a warning, over a minute critical."""
    apart = abs(seconds)
    text = f"the clocks of {whose} and of this machine are {apart:.0f} s apart"
    todo = "let both follow NTP (chrony, systemd-timesyncd)"
    if apart > _FAR:
        return tell.critical(check, text, todo)
    return tell.warning(check, text, todo) if apart > _SKEW else tell.passed(check, text)


def token_left(tell: Teller, check: str, left: float, whole: float) -> Result:
    """Of a token's ttl: under a tenth is a warning; under a fiftieth, or 20 s, is critical. 0 does not end."""
    if left <= 0:
        return tell.passed(check, "the token does not end")
    text = f"the token has {spell(left)} of {spell(max(whole, left))} left"
    todo = "log in anew, and give the role a token_ttl that leaves time to renew it (1h)"
    if left < _SHORTEST or left < whole * _LAST:
        return tell.critical(check, text, todo)
    return tell.warning(check, text, todo) if left < whole * _FEW else tell.passed(check, text)


def room(tell: Teller, check: str, what: str, used: int, most: int, todo: str) -> Result:
    """Of something of which there are `most`: over four fifths used are a warning, all but a fiftieth critical."""
    text = f"{used} of {most} {what} are in use"
    if used >= most * (1 - _LAST):
        return tell.critical(check, text, todo)
    return tell.warning(check, text, todo) if used > most * (1 - 2 * _FEW) else tell.passed(check, text)


def wire(tell: Teller, check: str, what: str, *, loopback: bool, tls: bool, verified: bool) -> Result:
    """Of the way to a system: without TLS it must not leave this machine, and TLS proves little unverified."""
    if tls and verified:
        return tell.passed(check, f"TLS to {what}, and verified")
    if loopback:
        return tell.passed(check, f"{what} is on loopback")
    if tls:
        todo = "name the CA in the secret's ca_file, and ask for verification (sslmode: verify-full)"
        return tell.warning(check, f"{what} is not verified: anybody may answer in its place", todo)
    todo = "let the server speak TLS, and say so in the secret"
    return tell.critical(check, f"credentials and data go to {what} in the clear", todo)


def spell(seconds: float) -> str:
    """A time as people say it, in its largest unit."""
    for size, unit in ((DAY, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
