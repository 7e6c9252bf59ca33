"""The first signal asks, the second Ctrl-C ends; afterwards all is as before."""

import os
import signal
import threading

import pytest

from lwd_core.interrupt import graceful_stop, stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks(number: signal.Signals) -> None:
    before, stop = signal.getsignal(number), threading.Event()
    with graceful_stop(stop):
        assert not stop.is_set()
        assert stopped() is None
        os.kill(os.getpid(), number)
        assert stop.wait(1)
    assert stopped() == 128 + number
    assert signal.getsignal(number) is before


def test_the_second_ctrl_c_ends_at_once_and_sigterm_may_come_again() -> None:
    stop = threading.Event()
    with graceful_stop(stop):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_another_thread_leaves_signals_alone() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with graceful_stop(threading.Event()):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
