"""What is asked to stop ends what it is at, saves it, and goes: one way for training, fleets and the UI."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_asked: list[int] = []  # signals that asked this process to stop, in their order


def stopped() -> int | None:
    """The exit code of a process that a signal asked to stop, as a shell counts: 130 after Ctrl-C, 143 after
    SIGTERM; None where none did."""
    return 128 + _asked[0] if _asked else None


@contextmanager
def graceful_stop(stop: threading.Event) -> Iterator[None]:
    """SIGINT (Ctrl-C) and SIGTERM set the event instead of ending the process.

    A second Ctrl-C ends it at once. A shell's background job is born deaf to SIGINT; here it listens.
    Afterwards signals do what they did before. Outside of the main thread, which alone may ask for them,
    nothing sets the event.
    """

    def ask(number: int, frame: object) -> None:
        stop.set()
        _asked.append(number)
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
