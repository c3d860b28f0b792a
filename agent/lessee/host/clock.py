"""The two clocks: one that counts how long, one that people read."""

import time


def boot_time() -> float:
    """Seconds on CLOCK_BOOTTIME, which counts suspension as the lease on the server does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_time() -> float:
    """Seconds since 1970, for people and for ages that outlive a boot; nothing else is decided by it: it may jump."""
    return time.time()
