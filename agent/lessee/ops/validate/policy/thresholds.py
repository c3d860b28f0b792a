"""Results by thresholds: expiry dates, clock skew, token TTLs, usage and encryption."""

from lessee.ops.validate.policy.results import Reporter, Result

DAY = 86400.0
_EXPIRY_WARNING, _EXPIRY_CRITICAL = 14 * DAY, 2 * DAY
_SKEW_WARNING, _SKEW_CRITICAL = 5.0, 60.0
_LEFT_WARNING, _LEFT_CRITICAL = 0.1, 0.02
_MIN_TTL = 20.0


def expiry(reporter: Reporter, check: str, subject: str, left: float, todo: str) -> Result:
    """Of something that is valid for `left` more seconds: less than 14 days is a warning, less than 2 critical."""
    if left <= 0:
        return reporter.critical(check, f"{subject} expired {spell(-left)} ago", todo)
    text = f"{subject} is valid for {spell(left)} more"
    if left < _EXPIRY_CRITICAL:
        return reporter.critical(check, text, todo)
    return reporter.warning(check, text, todo) if left < _EXPIRY_WARNING else reporter.passed(check, text)


def skew(reporter: Reporter, check: str, system: str, seconds: float) -> Result:
    """Of the difference to another clock: more than 5 s is a warning, more than a minute critical."""
    difference = abs(seconds)
    text = f"the clocks of {system} and of this machine differ by {difference:.0f} s"
    todo = "synchronize both with NTP (chrony, systemd-timesyncd)"
    if difference > _SKEW_CRITICAL:
        return reporter.critical(check, text, todo)
    return reporter.warning(check, text, todo) if difference > _SKEW_WARNING else reporter.passed(check, text)


def token_ttl(reporter: Reporter, check: str, left: float, whole: float) -> Result:
    """Of a token's TTL: less than a tenth is a warning; less than a fiftieth, or than 20 s, critical. 0: no expiry."""
    if left <= 0:
        return reporter.passed(check, "the token does not expire")
    text = f"the token has {spell(left)} of {spell(max(whole, left))} left"
    todo = "log in again, and give the role a token_ttl that leaves time for renewals, such as 1h"
    if left < _MIN_TTL or left < whole * _LEFT_CRITICAL:
        return reporter.critical(check, text, todo)
    return reporter.warning(check, text, todo) if left < whole * _LEFT_WARNING else reporter.passed(check, text)


def usage(reporter: Reporter, check: str, resource: str, used: int, maximum: int, todo: str) -> Result:
    """Of a limited resource: more than four fifths used is a warning, all but a fiftieth critical."""
    text = f"{used} of {maximum} {resource} are in use"
    if used >= maximum * (1 - _LEFT_CRITICAL):
        return reporter.critical(check, text, todo)
    return (
        reporter.warning(check, text, todo)
        if used > maximum * (1 - 2 * _LEFT_WARNING)
        else reporter.passed(check, text)
    )


def encryption(reporter: Reporter, check: str, system: str, *, loopback: bool, tls: bool, verified: bool) -> Result:
    """Of a connection: without TLS it must not leave this machine, and TLS needs a verified certificate."""
    if tls and verified:
        return reporter.passed(check, f"TLS to {system}, certificate verified")
    if loopback:
        return reporter.passed(check, f"{system} is on loopback")
    if tls:
        todo = "set ca_file in the secret, and require verification (sslmode: verify-full)"
        return reporter.warning(check, f"the certificate of {system} is not verified: another server may answer", todo)
    todo = "enable TLS on the server, and in the secret"
    return reporter.critical(check, f"credentials and data cross the network to {system} without TLS", todo)


def spell(seconds: float) -> str:
    """A duration in its largest unit."""
    for size, unit in ((DAY, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
