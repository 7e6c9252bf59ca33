"""A person at a terminal, here a pseudo one."""

import os
import termios

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.fleet.keyboard import Keyboard
from lwd_core.logs.embodiment import parse_embodiment
from tests.lwd_core.fleet.arms import FILE, LIMITS


@pytest.fixture
def terminal():
    ours, theirs = os.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_keys_say_what_a_person_means_and_move_a_dim(terminal) -> None:
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    keys = Keyboard(theirs)
    keys.fit(parse_embodiment(FILE + LIMITS))
    keys.connect()

    def typed(text: bytes) -> list[tuple[str, str]]:
        os.write(ours, text)
        return [(str(press.button), str(press.reason)) for press in keys.pressed()]

    assert typed(b"") == []
    assert typed(b" u g\n") == [
        ("take_over", "operator"),
        ("take_over", "unsafe"),
        ("give_back", "operator"),
        ("give_back", "operator"),
        ("ready", "operator"),
    ]
    assert [button for button, _ in typed(b"sfxqh?")] == ["success", "failure", "discard", "quit", "stop"]
    keys.take_over(np.array([0.3, 0.9]))
    # to_a is a position, of which the file says what measures it: it stays, and moves by presses
    assert keys.drive(np.array([0.3, 0.9])).tolist() == [0.3, 0.0]
    assert typed(b"\x1b[A\x1b[") == []
    assert keys.drive(np.array([0.3, 0.9])) == pytest.approx([0.34, 0.0])
    assert typed(b"C\x1b[B") == []  # the rest of an arrow to the right, then one down
    # to_b is taken for a rate: it moves while a key is pressed
    assert keys.drive(np.array([0.3, 0.9])) == pytest.approx([0.34, -0.5])
    assert keys.drive(np.array([0.3, 0.9])) == pytest.approx([0.34, 0.0])
    keys.close()
    assert termios.tcgetattr(theirs) == before


def test_without_a_terminal_it_says_what_to_do() -> None:
    read, write = os.pipe()
    with pytest.raises(UserError, match="no terminal; use `--controls none`"):
        Keyboard(read).connect()
    os.close(read)
    os.close(write)
