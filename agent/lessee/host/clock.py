"""The two clocks: one for durations, one for dates."""

import time


def boot_time() -> float:
    """Seconds on CLOCK_BOOTTIME, which counts suspension as the lease on the server does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_time() -> float:
    """Seconds since 1970, for people and for ages that span a reboot. Nothing else may depend on it, as it can jump."""
    return time.time()
