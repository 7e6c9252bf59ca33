"""A person at the keys of a terminal: says what happens, takes over, and drives a dim at a time."""

import os
import select
import sys
import termios
import tty
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from lwd_core.errors import UserError
from lwd_core.fleet.robot import Action, Button, Press, State
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import InterventionReason

#: What keys mean; the space bar takes over and gives back in turn.
KEYS = {
    "\n": Press(Button.READY),
    "\r": Press(Button.READY),
    "t": Press(Button.TAKE_OVER),
    "u": Press(Button.TAKE_OVER, InterventionReason.UNSAFE),
    "n": Press(Button.TAKE_OVER, InterventionReason.NO_PROGRESS),
    "g": Press(Button.GIVE_BACK),
    "s": Press(Button.SUCCESS),
    "f": Press(Button.FAILURE),
    "x": Press(Button.DISCARD),
    "q": Press(Button.QUIT),
    "h": Press(Button.STOP),
}
HELP = (
    "keys: Enter ready, space take over or give back (u: unsafe, n: no progress), s success, f failure, "
    "x discard, q no more after this, h halt; driving: left and right choose a dim, up and down move it"
)
_ARROWS = {"\x1b[A": 1.0, "\x1b[B": -1.0}
_CHOICE = {"\x1b[C": 1, "\x1b[D": -1}
_JOG = 0.02  # of a dim's range, a press


class Keyboard:
    """The keys of a terminal; implements ``Controls``.

    Driving, the arrows choose a dim of the action and move it. A dim whose limit names the ``state`` that
    measures it is a position: it stays where it is and moves by presses. Any other is taken for a rate: 0
    (or the end of its range that is nearest) but for the tick of a press. ``terminal``: its file descriptor;
    None for the process's own.
    """

    def __init__(self, terminal: int | None = None) -> None:
        self._terminal = terminal
        self._before: list[Any] | None = None
        self._driving = False
        self._moves: deque[float] = deque()
        self._chosen = 0
        self._unread = ""
        self.fit(None)

    def fit(self, embodiment: Embodiment | None) -> None:
        """The robot that is driven."""
        dims = embodiment.action_dims if embodiment else ()
        limits = embodiment.limits.dims if embodiment and embodiment.limits else ()
        places = {limit.dim: limit.state for limit in limits if limit.state}
        states = [dim.name for dim in embodiment.state_dims] if embodiment else []
        self._names = [dim.name for dim in dims]
        self._low = np.array([-1.0 if dim.low is None else dim.low for dim in dims])
        self._high = np.array([1.0 if dim.high is None else dim.high for dim in dims])
        self._placed = np.array([dim.name in places for dim in dims], dtype=bool)
        self._at = np.array([states.index(places[n]) if n in places else 0 for n in self._names], dtype=int)
        self._held: Action | None = None

    def connect(self) -> None:
        """Read keys as they are pressed. Raises UserError where there is no terminal."""
        if self._terminal is None:
            self._terminal = sys.stdin.fileno()
        if not os.isatty(self._terminal):
            raise UserError("keys: standard input is no terminal; use `--controls none`, or a device's own")
        self._before = termios.tcgetattr(self._terminal)
        tty.setcbreak(self._terminal, termios.TCSANOW)

    def pressed(self) -> Sequence[Press]:
        """What was pressed since the last call, in order."""
        found: list[Press] = []
        for key in self._read():
            if key == " ":
                key = "g" if self._driving else "t"
            if key in _CHOICE and self._names:
                self._chosen = (self._chosen + _CHOICE[key]) % len(self._names)
            elif key in _ARROWS:
                self._moves.append(_ARROWS[key])
            elif press := KEYS.get(key):
                if press.button in (Button.TAKE_OVER, Button.GIVE_BACK):
                    self._driving = press.button is Button.TAKE_OVER
                found.append(press)
        return found

    def take_over(self, state: State) -> None:
        """From where the robot is."""
        self._held = None
        self._moves.clear()

    def drive(self, state: State) -> Action:
        """Where the keys say, (D,)."""
        if self._held is None:
            self._held = state[self._at].astype(np.float64)
        rest = np.clip(0.0, self._low, self._high)
        action = np.where(self._placed, self._held, rest)
        while self._moves:
            move, chosen = self._moves.popleft(), self._chosen
            span = self._high[chosen] - self._low[chosen]
            action[chosen] += move * span * (_JOG if self._placed[chosen] else 0.25)
        self._held = np.where(self._placed, np.clip(action, self._low, self._high), self._held)
        return np.clip(action, self._low, self._high)

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._before is not None and self._terminal is not None:
            termios.tcsetattr(self._terminal, termios.TCSANOW, self._before)
            self._before = None

    def _read(self) -> list[str]:
        """Keys in order; an arrow is three bytes, and a part of one waits for the rest."""
        terminal = self._terminal
        while terminal is not None and select.select([terminal], [], [], 0)[0]:
            read = os.read(terminal, 256)
            if not read:
                break
            self._unread += read.decode(errors="replace")
        keys: list[str] = []
        while self._unread:
            length = 3 if self._unread.startswith("\x1b[") else 1
            if len(self._unread) < length:
                break
            keys.append(self._unread[:length])
            self._unread = self._unread[length:]
        return keys
