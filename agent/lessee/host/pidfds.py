"""What the file descriptor of a process says (pidfd_open(2))."""

import select


def has_exited(process: int) -> bool:
    """Whether the process of this pidfd has ended, so that another one may have its pid."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))
